"""Damaged inputs for the readers of files: each must be refused with a one-line error, or be read normally.

    uv run python -m bench.fuzz

Parameters, model files and shards get random damage: to their bytes or to their decoded values, in part with
corrected checksums, so that later checks are reached. A reader crashes if it raises any error but the
project's own, takes too much time or memory, or touches a file outside its folder.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from ruamel.yaml import YAML

from bench import process
from wm.data.episode import Episode, Record
from wm.data.manifest import MANIFEST
from wm.data.shards import Shards, Writer
from wm.errors import BadInput
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.params import check
from wm.params.file import parsed
from wm.runtime import files, model_file, model_header, workers

ROOT = Path(__file__).parents[1]
SECONDS = 20  # limit for one input, on a busy machine
MEGABYTES = 500  # limit for a reader, beyond the need of undamaged inputs
STRANGE = [None, True, -1, 0, 1, 0.5, 1e308, -0.0, 2**31, 10**30, float("nan"), float("inf"), "", "x", "0"]
STRANGE += [
    "a\nb",
    "../x",
    "r0; rm -rf x",
    "r0",
    "init",
    "\ud800",
    [],
    {},
    [1],
    [[[]]],
    {"a": {"b": 1}},
    {1: 2},
]
PIECES = [b"0", b"-1", b"1e999", b"9" * 5000, b"0x" + b"f" * 5000, b"NaN", b"null", b"../", b"/etc/passwd"]
PIECES += [b"\x00", b"\xff\xfe", b"\t", b"\n", b'"', b"#", b": ", b"- ", b"[" * 500, b"{", b"}"]
PIECES += [b"&a ", b"*a", b"<<: *a", b"!!x "]


class Escape(BaseException):
    """A reader touched a file outside the folder, or started a process or a connection."""


class TooLong(BaseException):
    """An input took longer than `SECONDS`."""


class Crash(NamedTuple):
    """The number of an input and the error that it caused."""

    number: int
    error: str


class Counts(NamedTuple):
    """The results of a reader."""

    reader: str
    inputs: int
    refused: int
    accepted: int
    crashes: list[Crash]
    megabytes: float  # beyond the need of undamaged inputs
    seconds: float


Damage = Callable[[random.Random, Path], Callable[[], Any]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="number for each reader")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tasks = [(name, arguments.inputs, arguments.seed) for name in READERS]
    with workers.local_pool() as pool:
        results = [show(counts) for counts in workers.ordered(pool, fuzzed, tasks)]
    sys.exit(any(counts.crashes for counts in results))


def show(counts: Counts) -> Counts:
    """Prints a line for a reader, and one for each of its first crashes."""
    outcomes = f"{counts.refused} refused, {counts.accepted} accepted, {len(counts.crashes)} crashes"
    needed = f"{counts.megabytes:.0f} MB, {counts.seconds:.0f} s"
    print(f"{counts.reader}: {counts.inputs} inputs, {outcomes}, {needed}", flush=True)
    for crash in counts.crashes[:10]:
        print(f"  input {crash.number}: {crash.error}")
    return counts


def fuzzed(task: tuple[str, int, int]) -> Counts:
    """Runs a reader on its inputs. An input depends only on the seed and its number."""
    name, inputs, seed = task
    began, outcomes, crashes = time.monotonic(), {"refused": 0, "accepted": 0}, []
    with tempfile.TemporaryDirectory() as scratch, alarmed():
        folder = Path(scratch).resolve()
        damage = READERS[name](folder)
        before = peak()
        for number in range(inputs):
            read = damage(random.Random(f"{seed} {name} {number}"), folder)
            try:
                outcomes[outcome(read, folder)] += 1
            except (Exception, Escape, TooLong, RecursionError) as error:
                crashes.append(Crash(number, f"{type(error).__name__}: {str(error)[:200]!r}"))
    grown = peak() - before
    if grown > MEGABYTES:
        crashes.append(Crash(-1, f"{grown:.0f} MB more than for undamaged inputs"))
    return Counts(
        name, inputs, **outcomes, crashes=crashes, megabytes=grown, seconds=time.monotonic() - began
    )


def outcome(read: Callable[[], Any], folder: Path) -> str:
    """ "refused" or "accepted". Raises any other error of the reader."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with confined(folder):
            read()
    except BadInput as error:
        if len(str(error).splitlines()) != 1 or len(str(error)) > 1500:
            raise ValueError(f"expected one short line, found: {error}") from None
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "accepted"


@contextmanager
def alarmed() -> Iterator[None]:
    """Raises TooLong in the block when the timer runs out."""

    def on_alarm(number: int, frame: Any) -> None:
        raise TooLong(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


HARMFUL = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.",
    "socket.",
    "pickle.",
)
CODE = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
CODE += [ROOT / name for name in ("wm", "stages", "bench", "tests")]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_hooked: list[bool] = []
_confines: list[Path] = []  # checked by the hook, which cannot be removed; none: it is inactive


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: Python calls it for every file that any library touches through Python."""
    if not _confines:
        return
    if event.startswith(HARMFUL):
        raise Escape(event)
    if event == "open":
        path, _, flags = arguments
        reading = not flags & WRITING
    elif event in ("os.scandir", "os.listdir"):
        path, reading = arguments[0], True
    elif event.startswith(("os.", "shutil.")):
        path, reading = arguments[0], False
    else:
        return
    if not isinstance(path, str | bytes | os.PathLike):
        return  # an open file
    touched = Path(os.fsdecode(path)).resolve()
    allowed = [*_confines, *CODE] if reading else _confines  # Python imports code and quotes it in messages
    if not any(touched.is_relative_to(folder) for folder in allowed):
        raise Escape(f"{event} {path!r}")


@contextmanager
def confined(folder: Path) -> Iterator[None]:
    """Raises Escape in the block where Python touches a file outside the folder."""
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)
    _confines.append(folder)
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of modules imported in the block
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        _confines.pop()


def peak() -> float:
    """Peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
    """The bytes with one to four random changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 1, 2, 8, 64, 1024)))
        kind = rng.randrange(6)
        if kind == 0 and start < len(content):
            content = content[:start] + bytes([content[start] ^ 1 << rng.randrange(8)]) + content[start + 1 :]
        elif kind == 1:
            content = content[:start]
        elif kind == 2:
            content = content[:start] + content[end:]
        elif kind == 3:
            content = content[:end] + content[start:]
        elif kind == 4:
            content = content[:start] + rng.choice(PIECES) + content[start:]
        else:
            content = content[:start] + rng.randbytes(end - start) + content[end:]
    return content


def damaged_values(rng: random.Random, content: Any) -> Any:
    """Decoded JSON or YAML with one to four values, names or items changed, added or removed."""
    content = deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        node = content
        while True:
            inner = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = rng.choice(inner) if inner else None
            if key is not None and isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
                node = node[key]
                continue
            break
        kind, strange = rng.randrange(5), deepcopy(rng.choice(STRANGE))
        if kind == 0 and key is not None:
            del node[key]
        elif kind == 1 and isinstance(node, dict):
            node[strange if isinstance(strange, str | int) else "strange"] = (
                deepcopy(node[key]) if inner else 1
            )
        elif kind == 2 and isinstance(node, list):
            node.append(strange)
        elif key is not None:
            node[key] = near(rng, node[key]) if rng.random() < 0.5 else strange
        else:
            break
    return content


def near(rng: random.Random, value: Any) -> Any:
    """A similar value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * rng.choice((-1, 0, 2, 10, 1000, 10**6)) + rng.choice((0, 1, -1))
    return f"{value}{rng.choice(('', ' ', '0', '/', chr(10)))}"


def params(folder: Path) -> Damage:
    """params.yaml: the text of one section, or values of all."""
    whole = YAML(typ="safe").load(ROOT / "profiles" / "default.yaml")
    texts = {name: _yaml(folder, section) for name, section in whole.items()}

    def damage(rng: random.Random, folder: Path) -> Callable[[], Any]:
        if rng.random() < 0.5:
            values = damaged_values(rng, whole)
            return lambda: check.check(values)
        name = rng.choice(list(texts))
        text = damaged_bytes(rng, texts[name])
        return lambda: check.check({**whole, name: parsed(text, "params.yaml")})

    check.check(whole)
    return damage


def _yaml(folder: Path, content: Any) -> bytes:
    path = folder / "section.yaml"
    YAML().dump(content, path)
    return path.read_bytes()


def model(folder: Path) -> Damage:
    """A model file: its bytes, or its header and its numbers with a corrected checksum."""
    controller, rnn = Controller(features=4), RNN(latent_size=2, hidden_size=2, mixtures=1, key=jr.key(0))
    path, originals = folder / "model.eqx", []
    for original in (controller, controller, controller, rnn):
        model_file.save(path, original)
        originals.append((type(original), path.read_bytes()))
        model_file.load(path, type(original))

    def damage(rng: random.Random, folder: Path) -> Callable[[], Any]:
        kind, content = rng.choice(originals)
        first, payload = content.split(b"\n", 1)
        choice = rng.random()
        if choice < 0.6:
            content = damaged_bytes(rng, content)
        elif choice < 0.8:
            content = dumped(damaged_values(rng, json.loads(first))) + b"\n" + payload
        else:
            payload = damaged_bytes(rng, payload)
            header = json.loads(first) | {"sha256": model_header.checksum(payload)}
            content = dumped(header) + b"\n" + payload
        path.write_bytes(content)
        return lambda: model_file.load(path, kind)

    return damage


def dumped(content: Any) -> bytes:
    """JSON that may contain NaN."""
    return json.dumps(content).encode()


def shards(folder: Path) -> Damage:
    """A folder of shards: bytes or values of the manifest, or bytes of the shard, half of the time with a
    corrected checksum."""
    home = folder / "latents"
    writer = Writer(home, "x")
    for seed in range(2):
        writer.write(_episode(seed))
    writer.finish()
    manifest, shard = (home / name for name in (MANIFEST, "x-00000.parquet"))
    original, rows = manifest.read_bytes(), shard.read_bytes()

    def read() -> None:
        shards = Shards(home)
        shards.expect_latents(2)
        for record in shards.kept():
            shards.read(record)

    def damage(rng: random.Random, folder: Path) -> Callable[[], Any]:
        kind = rng.randrange(4)
        content = original
        if kind == 0:
            content = damaged_bytes(rng, original)
        elif kind == 1:
            content = (json.dumps(damaged_values(rng, json.loads(original)), indent=2) + "\n").encode()
        damaged = damaged_bytes(rng, rows) if kind >= 2 else rows
        shard.write_bytes(damaged)
        if kind == 3:
            signed = json.loads(original)
            signed["shards"][0]["sha256"] = files.sha256(shard)
            content = files.json_text(signed).encode()
        manifest.write_bytes(content)
        return read

    read()
    return damage


def _episode(seed: int) -> Episode:
    rng, steps = np.random.default_rng(seed), 3
    zeros = np.zeros(steps, np.float32)
    latents = {name: rng.normal(size=(steps, 2)).astype(np.float32) for name in ("mu", "logvar")}
    record = Record(0, seed, "x", steps, score=1.0, warm_up_reward=0.5, lap_finished=False)
    ends = np.zeros(steps, bool)
    return Episode(
        record, latents, np.zeros((steps, 3), np.float32), zeros, ends.astype(np.int16), ends, ends
    )


READERS: dict[str, Callable[[Path], Damage]] = {"params": params, "model": model, "shards": shards}


if __name__ == "__main__":
    process.set_up()
    main()
