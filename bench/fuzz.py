"""The readers of what comes in, on spoilt inputs: each is refused in one line, or is as good as a whole one.

    uv run python -m bench.fuzz

Parameters, model files and shards are spoilt by chance: their bytes, or what these mean, some with the
checksums made right again, so that what lies behind is reached. It counts as a crash if a reader ends with
any other error than the project's own, takes too long or too much memory, or touches a file elsewhere.
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

from wm.data.episode import Episode, Record
from wm.data.manifest import MANIFEST
from wm.data.shards import Shards, Writer
from wm.errors import BadInput
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.params import check
from wm.params.file import parsed
from wm.runtime import files, model_file, workers

ROOT = Path(__file__).parents[1]
SECONDS = 20  # that one input may take, on a busy machine
MEGABYTES = 500  # that a reader may need on top of what whole inputs need
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
    """A file outside the folder was touched, or a process or a connection begun."""


class TooLong(BaseException):
    """An input took longer than it may."""


class Crash(NamedTuple):
    """An input, by its number, and what a reader said of it."""

    number: int
    said: str


class Counts(NamedTuple):
    """What came of a reader's inputs."""

    reader: str
    inputs: int
    refused: int
    accepted: int
    crashes: list[Crash]
    megabytes: float  # on top of what whole inputs need
    seconds: float


Spoil = Callable[[random.Random, Path], Callable[[], Any]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tasks = [(name, arguments.inputs, arguments.seed) for name in READERS]
    with workers.processes(workers=0) as pool:
        results = [show(one) for one in workers.ordered(pool, fuzzed, tasks)]
    sys.exit(any(one.crashes for one in results))


def show(found: Counts) -> Counts:
    """Prints a line for a reader, and one for each of its first crashes."""
    counts = f"{found.refused} refused, {found.accepted} accepted, {len(found.crashes)} crashes"
    needed = f"{found.megabytes:.0f} MB, {found.seconds:.0f} s"
    print(f"{found.reader}: {found.inputs} inputs, {counts}, {needed}", flush=True)
    for crash in found.crashes[:10]:
        print(f"  input {crash.number}: {crash.said}")
    return found


def fuzzed(task: tuple[str, int, int]) -> Counts:
    """What a reader makes of its inputs. Each follows from the seed and its number alone."""
    name, inputs, seed = task
    began, outcomes, crashes = time.monotonic(), {"refused": 0, "accepted": 0}, []
    with tempfile.TemporaryDirectory() as scratch, alarmed():
        folder = Path(scratch).resolve()
        spoil = READERS[name](folder)
        before = peak()
        for number in range(inputs):
            read = spoil(random.Random(f"{seed} {name} {number}"), folder)
            try:
                outcomes[outcome(read, folder)] += 1
            except (Exception, Escape, TooLong, RecursionError) as error:
                crashes.append(Crash(number, f"{type(error).__name__}: {str(error)[:200]!r}"))
    grown = peak() - before
    if grown > MEGABYTES:
        crashes.append(Crash(-1, f"{grown:.0f} MB more than whole inputs need"))
    return Counts(
        name, inputs, **outcomes, crashes=crashes, megabytes=grown, seconds=time.monotonic() - began
    )


def outcome(read: Callable[[], Any], folder: Path) -> str:
    """Whether an input is refused or accepted. Raises whatever is neither."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with confined(folder):
            read()
    except BadInput as error:
        if len(str(error).splitlines()) != 1 or len(str(error)) > 1500:
            raise ValueError(f"no single, short line: {error}") from None
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "accepted"


@contextmanager
def alarmed() -> Iterator[None]:
    """TooLong is raised when the timer runs out."""

    def ring(number: int, frame: Any) -> None:
        raise TooLong(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
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
_confines: list[Path] = []  # to which the hook, which cannot be taken off again, holds; none: it is at rest


def _touched(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's audit hook: it is told of every file that Python touches, by whatever library."""
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
        return  # a file that is open already
    found = Path(os.fsdecode(path)).resolve()
    allowed = [*_confines, *CODE] if reading else _confines  # Python imports, and quotes code in messages
    if not any(found.is_relative_to(one) for one in allowed):
        raise Escape(f"{event} {path!r}")


@contextmanager
def confined(folder: Path) -> Iterator[None]:
    """Escape is raised where a file outside the folder is touched by Python."""
    if not _hooked:
        sys.addaudithook(_touched)
        _hooked.append(True)
    _confines.append(folder)
    try:
        yield
    finally:
        _confines.pop()


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spoilt_bytes(rng: random.Random, content: bytes) -> bytes:
    """The bytes with one to four things done to them."""
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


def spoilt_values(rng: random.Random, content: Any) -> Any:
    """What JSON or YAML says with one to four values, names or items changed, added or taken away."""
    content = deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = content
        while True:
            inner = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = rng.choice(inner) if inner else None
            if key is not None and isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
                at = at[key]
                continue
            break
        kind, strange = rng.randrange(5), deepcopy(rng.choice(STRANGE))
        if kind == 0 and key is not None:
            del at[key]
        elif kind == 1 and isinstance(at, dict):
            at[strange if isinstance(strange, str | int) else "strange"] = deepcopy(at[key]) if inner else 1
        elif kind == 2 and isinstance(at, list):
            at.append(strange)
        elif key is not None:
            at[key] = near(rng, at[key]) if rng.random() < 0.5 else strange
        else:
            break
    return content


def near(rng: random.Random, value: Any) -> Any:
    """Another number or word of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * rng.choice((-1, 0, 2, 10, 1000, 10**6)) + rng.choice((0, 1, -1))
    return f"{value}{rng.choice(('', ' ', '0', '/', chr(10)))}"


def params(folder: Path) -> Spoil:
    """params.yaml: one section's text, or the values of all."""
    whole = YAML(typ="safe").load(ROOT / "profiles" / "default.yaml")
    texts = {name: _yaml(folder, section) for name, section in whole.items()}

    def spoil(rng: random.Random, folder: Path) -> Callable[[], Any]:
        if rng.random() < 0.5:
            values = spoilt_values(rng, whole)
            return lambda: check.check(values)
        name = rng.choice(list(texts))
        text = spoilt_bytes(rng, texts[name])
        return lambda: check.check({**whole, name: parsed(text, "params.yaml")})

    check.check(whole)
    return spoil


def _yaml(folder: Path, content: Any) -> bytes:
    path = folder / "section.yaml"
    YAML().dump(content, path)
    return path.read_bytes()


def model(folder: Path) -> Spoil:
    """A model file: its bytes, or its header and its numbers with the checksum made right again."""
    controller, rnn = Controller(features=4), RNN(latent_size=2, hidden_size=2, mixtures=1, key=jr.key(0))
    path, seeds = folder / "model.eqx", []
    for one in (controller, controller, controller, rnn):
        model_file.save(path, one)
        seeds.append((type(one), path.read_bytes()))
        model_file.load(path, type(one))

    def spoil(rng: random.Random, folder: Path) -> Callable[[], Any]:
        kind, content = rng.choice(seeds)
        first, payload = content.split(b"\n", 1)
        choice = rng.random()
        if choice < 0.6:
            content = spoilt_bytes(rng, content)
        elif choice < 0.8:
            content = dumped(spoilt_values(rng, json.loads(first))) + b"\n" + payload
        else:
            payload = spoilt_bytes(rng, payload)
            header = json.loads(first) | {"sha256": model_file.checksum(payload)}
            content = dumped(header) + b"\n" + payload
        path.write_bytes(content)
        return lambda: model_file.load(path, kind)

    return spoil


def dumped(content: Any) -> bytes:
    """As JSON, NaN included."""
    return json.dumps(content).encode()


def shards(folder: Path) -> Spoil:
    """A folder of shards: its manifest's bytes or values, its shard's bytes, half of the time with the
    checksum made right again."""
    home = folder / "latents"
    writer = Writer(home, "x")
    for seed in range(2):
        writer.write(_episode(seed))
    writer.finish()
    manifest, shard = (home / name for name in (MANIFEST, "x-00000.parquet"))
    listed, rows = manifest.read_bytes(), shard.read_bytes()

    def read() -> None:
        found = Shards(home)
        found.expect_latents(2)
        for record in found.kept():
            found.read(record)

    def spoil(rng: random.Random, folder: Path) -> Callable[[], Any]:
        kind = rng.randrange(4)
        content = listed
        if kind == 0:
            content = spoilt_bytes(rng, listed)
        elif kind == 1:
            content = (json.dumps(spoilt_values(rng, json.loads(listed)), indent=2) + "\n").encode()
        spoilt = spoilt_bytes(rng, rows) if kind >= 2 else rows
        shard.write_bytes(spoilt)
        if kind == 3:
            signed = json.loads(listed)
            signed["shards"][0]["sha256"] = files.sha256(shard)
            content = files.json_text(signed).encode()
        manifest.write_bytes(content)
        return read

    read()
    return spoil


def _episode(seed: int) -> Episode:
    rng, steps = np.random.default_rng(seed), 3
    zeros = np.zeros(steps, np.float32)
    latents = {name: rng.normal(size=(steps, 2)).astype(np.float32) for name in ("mu", "logvar")}
    record = Record(0, seed, "x", steps, score=1.0, warm_up_reward=0.5, lap_finished=False)
    ends = np.zeros(steps, bool)
    return Episode(
        record, latents, np.zeros((steps, 3), np.float32), zeros, ends.astype(np.int16), ends, ends
    )


READERS: dict[str, Callable[[Path], Spoil]] = {"params": params, "model": model, "shards": shards}


if __name__ == "__main__":
    main()
