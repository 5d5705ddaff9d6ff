"""Time and memory of the stages that read drives, with the default number of drives and ten times as many.

    uv run python -m bench.memory
    uv run python -m bench.memory --rounds 20    # instead: a round's stages at the smoke profile's sizes

The drives are copies of a few real ones, each with another track's seed. Training and evolution have few
steps. Time is that of a whole process, memory its peak according to Linux. Takes about twenty minutes and
12 GB of disk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice, pairwise
from pathlib import Path

from bench import ablations, process
from bench.scale import TIMING
from stages import collect
from wm.data.shards import Writer
from wm.params import file, profiles
from wm.params.file import PARAMS
from wm.params.names import INIT
from wm.runtime import run

FIRST_TRACK, REAL = 930_000_000, 8  # REAL: real drives of each source
FACTORS = (1, 10)
POLL = 0.2  # seconds between two measurements of a process
FEW = ("train_vae.steps=150", "train_rnn.first_round_steps=20", "evolve.search.generations=3")
STAGES = (
    ("process",),
    ("train_vae",),
    ("encode",),
    ("initialise",),
    ("train_rnn", "r0", "init"),
    ("evolve", "r0", "init"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument(
        "--factors", type=int, nargs="+", default=FACTORS, help="multiples of the default number of drives"
    )
    parser.add_argument("--rounds", type=int, help="measure this many small rounds instead")
    arguments = parser.parse_args()
    if arguments.rounds:
        with tempfile.TemporaryDirectory() as scratch:
            print("stage,round,seconds,megabytes")
            for name, number, seconds, megabytes in in_rounds(Path(scratch), arguments.rounds):
                print(f"{name},{number},{seconds:.0f},{megabytes:.0f}", flush=True)
        return
    print("stage,drives,seconds,megabytes")
    for factor in arguments.factors:
        with tempfile.TemporaryDirectory() as scratch:
            for name, drives, seconds, megabytes in measured(Path(scratch), factor):
                print(f"{name},{drives},{seconds:.0f},{megabytes:.0f}", flush=True)


def measured(folder: Path, factor: int) -> Iterator[tuple[str, int, float, float]]:
    """Name, drives, seconds and peak MB of each stage, on `factor` times the drives of params.yaml."""
    params = file.read(ablations.ROOT / PARAMS)
    for change in FEW:
        ablations.apply(change, params)
    for source, section in params["collect"].items():
        write(source, factor * section["episodes"], section["seed"], folder / "data/raw" / source)
    ablations.write(params, folder)
    drives = factor * sum(section["episodes"] for section in params["collect"].values())
    for name, *arguments in STAGES:
        yield name, drives, *cost([sys.executable, "-m", "stages", name, *arguments], folder)


def in_rounds(folder: Path, count: int) -> Iterator[tuple[str, int, float, float]]:
    """Name, round, seconds and peak MB of each stage of `count` rounds at the smoke profile's sizes."""
    names = [INIT, *(f"r{k}" for k in range(count))]
    params = profiles.content("smoke")
    params["rounds"] = {name: {"prev": prev} for prev, name in pairwise(names)}
    ablations.write(params, folder)
    for arguments in (*(("collect", source) for source in params["collect"]), *STAGES[:4]):
        cost([sys.executable, "-m", "stages", *arguments], folder)
    for number, (prev, name) in enumerate(pairwise(names)):
        for stage in ("train_rnn", "evolve", "explore", "encode_explored"):
            words = [stage, name] if stage == "explore" else [stage, name, prev]
            yield stage, number, *cost([sys.executable, "-m", "stages", *words], folder)


def write(source: str, count: int, seed: int, folder: Path) -> None:
    """Writes `count` drives of a scripted driver, of which only `REAL` differ."""
    real = [collect.episode((source, TIMING, FIRST_TRACK + i)) for i in range(REAL)]
    writer = Writer(folder, source)
    for number, episode in enumerate(islice(cycle(real), count)):
        writer.write(replace(episode, record=replace(episode.record, seed=seed + number)))
    writer.finish()


def cost(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak MB of a process. Raises CalledProcessError where it failed."""
    began, peak = time.monotonic(), 0.0
    environment = os.environ | {"PYTHONPATH": str(ablations.ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, peak_so_far(process.pid))
        time.sleep(POLL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.monotonic() - began, peak


def peak_so_far(pid: int) -> float:
    """Peak MB of a running process; 0 where it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line), 0.0)


if __name__ == "__main__":
    process.set_up()
    run.run(main)
