"""Three explanations of the gap between dream and reality, each tested by controllers evolved from scratch.

    uv run python -m bench.gap_causes       # all 51 controllers, about three hours

Each experiment changes the parameters in one way. It uses the data of `dvc repro`, and its RNNs unless it
trains new ones, and drives the same development tracks with three evolution seeds. Rows that
docs/experiments/data/gap_causes.csv already has are kept, so the same command resumes an interrupted run.
`--share 1/2` and `--share 2/2` each run half of the experiments, side by side.
"""

import argparse
from pathlib import Path

from bench import ablations, process, tables
from bench.ablations import Change
from wm.params import file
from wm.params.file import PARAMS
from wm.runtime import run

TABLE = ablations.ROOT / "docs" / "experiments" / "data" / "gap_causes.csv"
SEEDS = (1, 2, 3)
FROM_SCRATCH = "evolve.from_scratch_rounds=1000"
HALF, LOCKED = "[-0.5, 0.5]", "[0.5, 0.5]"


def experiments(rounds: list[str]) -> list[Change]:
    """All experiments on the last of these rounds; the unchanged params on every second earlier one too."""
    last = rounds[-1]

    def change(name: str, *settings: str, of: str = last) -> Change:
        return Change(name, of, (FROM_SCRATCH, *settings))

    def new_rnns(steps: int, *settings: str) -> tuple[str, ...]:
        return (f"train_rnn.steps={steps}", *(settings or ("initialise.hidden_size=256",)))

    default = change("default")
    data = [change("default", of=name) for name in rounds[: len(rounds) - 1 : 2]]
    length = [change(f"A: new RNNs, {steps} steps", *new_rnns(steps)) for steps in (150, 600, 2400)]
    size = change("A: new RNNs, 600 steps, hidden size 64", *new_rnns(600, "initialise.hidden_size=64"))
    locked = (f"evolve.action_limits.gas={LOCKED}", "evolve.action_limits.brake=[0.0, 0.0]")
    half = f"evolve.action_limits.steering={HALF}"
    limits = [
        change("B: steering within 0.5", half),
        change("B: gas 0.5, no brake", *locked),
        change("B: steering within 0.5, gas 0.5, no brake", half, *locked),
    ]
    sampling = [change(f"C: {which}", f"evolve.sampling={which}") for which in ("mode", "mean")]
    heat = [change(f"C: temperature {value}", f"evolve.temperature={value}") for value in (0.5, 1.15, 1.3)]
    joint = change("C: new RNNs, 600 steps, joint mixture", *new_rnns(600, "initialise.joint_mixture=true"))
    return [default, *limits, *sampling, *heat, *length, size, joint, *data]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gap_causes", description=__doc__)
    parser.add_argument("--share", type=share, default=(1, 1), help="I/N: part I of N of the experiments")
    parser.add_argument("--table", type=Path, default=TABLE, help="CSV file to append to")
    arguments = parser.parse_args()
    part, parts = arguments.share
    measured = 0
    rounds = list(file.read(ablations.ROOT / PARAMS)["rounds"])
    for change in experiments(rounds)[part - 1 :: parts]:
        missing = [seed for seed in SEEDS if not known(change, seed, arguments.table)]
        if missing:
            for row in ablations.measure(change, missing):
                tables.append(row, arguments.table)
                measured += 1
    print(f"{arguments.table}: {measured} rows appended; to measure all again, name another --table")


def share(text: str) -> tuple[int, int]:
    """Part and number of parts. Raises ArgumentTypeError, which argparse reports in one line."""
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"found {text}, expected I/N with I from 1 to N, such as 1/2")
    return int(part), int(parts)


def known(change: Change, seed: int, table: Path) -> bool:
    """Whether the table has the change's row with this seed."""
    settings = " ".join([*change.settings, f"evolve.seed={seed}"])
    rows = tables.rows(table) if table.exists() else []
    return any(
        (row["name"], row["round"], row["changes"]) == (change.name, change.round, settings) for row in rows
    )


if __name__ == "__main__":
    process.set_up()
    run.run(main)
