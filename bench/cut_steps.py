"""How much of the raw drives no model learns from: what follows the first lap, or the loss of the car.

    uv run python -m bench.cut_steps RUN >> docs/experiments/data/cut_steps.csv

Needs data/raw of `dvc repro`; takes a minute. Prints one row per source of drives and reason: the number of
drives, that of drives cut for this reason, and the percentage of the source's steps that are cut off.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Sequence

from bench import process
from wm.data.episode import Episode
from wm.data.processing import first_lap, until_lost
from wm.data.shards import Shards
from wm.params import file
from wm.runtime import run
from wm.runtime.places import RAW
from wm.spec import Timing

Cut = Callable[[Episode, Timing], Episode]
CUTS: dict[str, Cut] = {"first lap": first_lap, "loss": until_lost}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cut_steps", description=__doc__)
    parser.add_argument("run", help="name of the run in the first column")
    arguments, params = parser.parse_args(), file.load()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for source in [*params.collect, *params.rounds]:
        shards = Shards(RAW / source)
        lengths = cut_lengths(shards, params.environment.timing)
        for reason, after in lengths.items():
            writer.writerow([arguments.run, source, reason, *cut_share(shards, after)])


def cut_lengths(shards: Shards, timing: Timing) -> dict[str, list[int]]:
    """For each reason, the lengths of the drives without what is cut off for it."""
    drives: dict[str, list[int]] = {reason: [] for reason in CUTS}
    for record in shards.records:
        whole = shards.read(record)
        for reason, cut in CUTS.items():
            drives[reason].append(cut(whole, timing).record.length)
    return drives


def cut_share(shards: Shards, lengths: Sequence[int]) -> tuple[int, int, str]:
    """The number of drives, of those that are cut to these lengths, and the percentage of steps cut off."""
    pairs = [(record.length, length) for record, length in zip(shards.records, lengths, strict=True)]
    share = sum(whole - length for whole, length in pairs) / sum(whole for whole, _ in pairs)
    return len(pairs), sum(whole > length for whole, length in pairs), f"{100 * share:.1f}"


if __name__ == "__main__":
    process.set_up()
    run.run(main)
