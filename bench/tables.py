"""Tables in Markdown: those of docs/results.md, from what the last `dvc repro` left in metrics and data, or
one with a line for each change that `bench.levers` measured.

    uv run python -m bench.tables
    uv run python -m bench.tables docs/levers.csv
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from bench.levers import LOST
from wm.params import file
from wm.params.environment import Environment
from wm.report import model_card
from wm.runtime import files, run

METRICS = Path("metrics")
SCORES = """round, real drives before it, real frames, M: NLL, dream (100), real mean ± std (100), sem,
median, worst, best, laps, missed tiles, below 600"""
FIDELITY = """round, promised / kept in steps 1 to 10, in the last 10, really on the road then,
drift of latents, drift of points"""
LEVERS = """what, round, M: NLL, drift of points in 20 steps, dream by seed, real mean ± std by seed, mean,
laps of 40, below 600"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tables", description=__doc__)
    parser.add_argument("levers", nargs="?", type=Path, help="a CSV file of bench.levers")
    levers = parser.parse_args().levers
    if levers:
        table(LEVERS, by_change(rows(levers)))
    else:
        results()


def by_change(measured: list[dict[str, Any]]) -> list[list[str]]:
    """A line for each change in each round, whatever lies between its seeds."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in measured:
        groups.setdefault((row["name"], row["round"]), []).append(row)
    return [lever(*key, group) for key, group in groups.items()]


def lever(name: str, round_name: str, measured: list[dict[str, Any]]) -> list[str]:
    """What a change came to, with one seed after the other."""

    def mean(key: str, form: str) -> str:
        return form.format(sum(float(row[key]) for row in measured) / len(measured))

    return [
        name,
        round_name,
        mean("nll", "{:.1f}"),
        mean("reward_drift_20", "{:.0f}"),
        ", ".join(f"{float(row['dream']):.0f}" for row in measured),
        ", ".join(f"{float(row['mean']):.0f} ± {float(row['std']):.0f}" for row in measured),
        mean("mean", "**{:.0f}**"),
        ", ".join(row["laps"] for row in measured),
        ", ".join(row["lost"] for row in measured),
    ]


def results() -> None:
    """The rounds' scores, and their dreams against reality."""
    params = file.read()
    environment = file.section(Environment, "environment")
    rounds = file.mapping(params, "rounds")
    table(SCORES, [scores(name, rounds[name]["prev"], environment) for name in rounds])
    table(FIDELITY, [fidelity(name) for name in rounds])


def scores(name: str, prev: str, environment: Environment) -> list[str]:
    """What the round's driver came to, and what had been driven until then."""
    home = METRICS / name
    model, dream, real = (files.read_json(home / f"{kind}.json") for kind in ("train_rnn", "dream", "real"))
    drives, frames = model_card.real_data(prev, environment)
    score = real["score"]
    lost = sum(float(row["score"]) < LOST for row in rows(home / "real.csv"))
    return [
        name,
        f"{drives:,}",
        f"{frames:,}",
        f"{model['rnn']['nll']:.1f}",
        f"{dream['score']['mean']:.0f} ± {dream['score']['std']:.0f}",
        f"{score['mean']:.0f} ± {score['std']:.0f}",
        *(f"{score[part]:.0f}" for part in ("sem", "median", "min", "max")),
        str(real["laps"]),
        f"{real['missed']:.1f}",
        str(lost),
    ]


def fidelity(name: str) -> list[str]:
    """What the round's dreams promise and keep, and how far they drift in 5, 20, 50 and 100 steps."""
    drift = files.read_json(METRICS / name / "fidelity.json")["drift"]
    windows = rows(METRICS / name / "exploitation.csv")
    return [
        name,
        *(
            f"{float(w['dream_reward']):.2f} / {float(w['real_reward']):.2f} ({float(w['agreement']):.2f})"
            for w in (windows[0], windows[-1])
        ),
        f"{float(windows[-1]['real_on_road']):.0%}".replace("%", " %"),
        ", ".join(f"{value:.2f}" for key, value in drift.items() if key.startswith("latent")),
        ", ".join(f"{value:.1f}" for key, value in drift.items() if key.startswith("reward")),
    ]


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(heads: str, lines: list[list[str]]) -> None:
    """Prints a table of Markdown."""
    names = [name.strip() for name in heads.split(",")]
    for cells in (names, ["---"] * len(names), *lines):
        print("| " + " | ".join(cells) + " |")
    print()


if __name__ == "__main__":
    run.run(main)
