"""Dream beside reality, round by round: `python -m stages.report`."""

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from wm import config, files, metrics, scores
from wm.scores import Scores

SCORES, METRICS = Path("data/scores"), Path("metrics")
WORLDS = ("dream", "real")


def main() -> None:
    rounds = list(config.read()["rounds"])
    rows = [row(name, scores.read(SCORES / name / "scores.json", Scores)[0]) for name in rounds]
    ranked = read_ranks(METRICS / "ranks.csv")
    files.write_csv(METRICS / "rounds.csv", rows)
    last = rows[-1]
    gap = last["dream"] - last["real"]
    summary = {
        "gap": round(gap, 2),
        "gap_relative": round(gap / max(abs(last["real"]), 1e-9), 4),
        "impossible_dream": any(row["dream"] > metrics.IMPOSSIBLE for row in rows),
    }
    files.write_json(METRICS / "gap.json", summary)
    picture(rows, ranked, METRICS / "rounds.png")


def read_ranks(path: Path) -> list[dict[str, Any]]:
    """A row for each controller: its round, and its score in either world. Raises BadInput."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                {"round": row["round"], **{w: float(row[w]) for w in WORLDS}} for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise config.BadInput(f"{path}: no table of ranks ({error!r}). Run `dvc repro`.") from None
    return rows


def row(name: str, found: Scores) -> dict[str, Any]:
    """A round's scores with their standard errors, in points."""
    line: dict[str, Any] = {"round": name}
    for world in WORLDS:
        score = getattr(found, world)
        line |= {world: score.mean, f"{world}_sem": score.sem}
    return line


def picture(rows: list[dict[str, Any]], ranked: list[dict[str, Any]], path: Path) -> None:
    """Left: means with 95 % intervals by round. Right: controllers of all qualities in both worlds."""
    figure, (axes, right) = pyplot.subplots(1, 2, figsize=(11, 4), dpi=120, width_ratios=[3, 2])
    names = [row["round"] for row in rows]
    for world, colour in zip(WORLDS, ("tab:purple", "tab:green"), strict=True):
        means = [row[world] for row in rows]
        errors = [1.96 * row[f"{world}_sem"] for row in rows]
        axes.errorbar(names, means, errors, label=world, color=colour, marker="o", capsize=3)
    axes.set(xlabel="round", ylabel="score of a whole episode (points)", ylim=(-100, 1000))
    axes.axhline(906, color="grey", linestyle=":", label="the paper's driver, trained in reality: 906")
    axes.legend(loc="lower right")
    for name in names:
        dreamt, real = ([one[world] for one in ranked if one["round"] == name] for world in WORLDS)
        right.scatter(dreamt, real, s=16, label=name)
    limits = (-150, 1000)
    right.plot(limits, limits, color="grey", linestyle=":")
    right.set(xlabel="dream (points)", ylabel="real (points)", xlim=limits, ylim=limits)
    right.set_title("all in the last round's dream: on evolution's way, perturbed", fontsize="medium")
    right.legend(loc="lower right", fontsize="small")
    figure.tight_layout()
    with files.replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", metadata={"Software": None})


if __name__ == "__main__":
    config.run_stage(main, *sys.argv[1:])
