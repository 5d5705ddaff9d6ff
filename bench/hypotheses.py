"""Why dream and reality part: three hypotheses, each put to the test by drivers evolved from zero.

    uv run python -m bench.hypotheses
    uv run python -m bench.tables docs/hypotheses.csv

Each experiment changes the recipe in one way, on the data that `dvc repro` has made (and its RNNs, but where
they are said to be trained afresh), and drives the same development tracks with the drivers of three
evolution seeds. It takes hours; lines of docs/hypotheses.csv that are there already are not made again, so
that a broken off run goes on. `--share 1/2` and `--share 2/2` do half of the experiments each, side by side.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from bench import levers, tables
from wm.params import file
from wm.params.file import PARAMS
from wm.runtime import run

TABLE = levers.ROOT / "docs" / "hypotheses.csv"
SEEDS = (1, 2, 3)
FROM_ZERO = "evolve.rounds_from_zero=1000"
HALF, LOCKED = "[-0.5, 0.5]", "[0.5, 0.5]"


class Experiment(NamedTuple):
    """A line of the table: its name, the round whose data it goes on from, what it changes."""

    name: str
    round: str
    changes: tuple[str, ...]


def experiments(rounds: list[str]) -> list[Experiment]:
    """All of them, on the last of these rounds, or where more data are the question on earlier ones, too."""
    last = rounds[-1]

    def one(name: str, *changes: str, of: str = last) -> Experiment:
        return Experiment(name, of, (FROM_ZERO, *changes))

    def afresh(steps: int, *changes: str) -> tuple[str, ...]:
        return (f"train_rnn.steps={steps}", *(changes or ("initialise.hidden_size=256",)))

    recipe = one("the recipe")
    data = [one("the recipe", of=name) for name in rounds[: len(rounds) - 1 : 2]]
    length = [one(f"A: RNNs afresh, {steps} steps", *afresh(steps)) for steps in (150, 600, 2400)]
    size = one("A: RNNs afresh, 600 steps, hidden size 64", *afresh(600, "initialise.hidden_size=64"))
    locked = (f"evolve.limits.gas={LOCKED}", "evolve.limits.brake=[0.0, 0.0]")
    clamps = [
        one("B: steering within 0.5", f"evolve.limits.steering={HALF}"),
        one("B: gas 0.5, no brake", *locked),
        one("B: steering within 0.5, gas 0.5, no brake", f"evolve.limits.steering={HALF}", *locked),
    ]
    sampling = [one(f"C: {which}", f"evolve.sampling={which}") for which in ("mode", "mean")]
    heat = [one(f"C: temperature {value}", f"evolve.temperature={value}") for value in (0.5, 1.15, 1.3)]
    joint = one("C: RNNs afresh, 600 steps, joint mixture", *afresh(600, "initialise.joint=true"))
    return [recipe, *clamps, *sampling, *heat, *length, size, joint, *data]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hypotheses", description=__doc__)
    parser.add_argument("--share", type=share, default=(1, 1), help="I/N: the I-th of N parts of them")
    parser.add_argument("--table", type=Path, default=TABLE, help="the CSV file that the lines go to")
    arguments = parser.parse_args()
    part, parts = arguments.share
    made = 0
    rounds = list(file.read(levers.ROOT / PARAMS)["rounds"])
    for experiment in experiments(rounds)[part - 1 :: parts]:
        left = [seed for seed in SEEDS if not known(experiment, seed, arguments.table)]
        if left:
            for row in levers.measured(experiment.round, experiment.name, list(experiment.changes), left):
                levers.append(row, arguments.table)
                made += 1
    print(f"{arguments.table}: {made} lines made; what it had is kept. Another --table makes all anew.")


def share(text: str) -> tuple[int, int]:
    """Which part, of how many. Raises ArgumentTypeError, which argparse tells of in one line."""
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"found {text}, wanted I/N with I from 1 to N, as 1/2")
    return int(part), int(parts)


def known(experiment: Experiment, seed: int, table: Path) -> bool:
    """Whether the table has the line."""
    changes = " ".join([*experiment.changes, f"evolve.seed={seed}"])
    wanted = (experiment.name, experiment.round, changes)
    lines = tables.rows(table) if table.exists() else []
    return any((line["name"], line["round"], line["changes"]) == wanted for line in lines)


if __name__ == "__main__":
    run.run(main)
