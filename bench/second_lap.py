"""How much of the raw drives lies after their first lap, on road already visited.

    uv run python -m bench.second_lap > second_lap.csv     # needs data/raw of `dvc repro`; a minute

Prints one row per source of drives: their number, that of drives that go on after the last tile was visited
or missed, and the percentage of all steps that come after it.
"""

import csv
import sys

from bench import process
from wm.data.processing import first_lap
from wm.data.shards import Shards
from wm.params import file
from wm.runtime import run
from wm.runtime.places import RAW
from wm.spec import Timing


def main() -> None:
    params = file.load()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["source", "drives", "cut_drives", "percent_of_steps"])
    for source in [*params.collect, *params.rounds]:
        writer.writerow([source, *second_laps(Shards(RAW / source), params.environment.timing)])


def second_laps(shards: Shards, timing: Timing) -> tuple[int, int, str]:
    """The number of drives, of those with a second lap, and the second laps' percentage of the steps."""
    pairs = [
        (record.length, first_lap(shards.read(record), timing).record.length) for record in shards.records
    ]
    cut = sum(whole - first for whole, first in pairs)
    share = cut / sum(whole for whole, _ in pairs)
    return len(pairs), sum(whole > first for whole, first in pairs), f"{100 * share:.1f}"


if __name__ == "__main__":
    process.set_up()
    run.run(main)
