"""Dream beside reality, round by round: `python -m stages.report`."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from wm import config, files

SCORES, METRICS = Path("data/scores"), Path("metrics")
IMPOSSIBLE = 950  # a mean dream score above this is exploitation, not skill


def main() -> None:
    rounds = list(config.read()["rounds"])
    rows = [row(name) for name in rounds]
    files.write_csv(METRICS / "rounds.csv", rows)
    last = rows[-1]
    gap = last["dream"] - last["real"]
    summary = {
        "gap": round(gap, 2),
        "gap_relative": round(gap / max(abs(last["real"]), 1e-9), 4),
        "impossible_dream": any(row["dream"] > IMPOSSIBLE for row in rows),
    }
    files.write_json(METRICS / "gap.json", summary)
    picture(rows, METRICS / "rounds.png")


def row(name: str) -> dict[str, Any]:
    """A round's scores with their standard errors, in points."""
    line: dict[str, Any] = {"round": name}
    for world, score in files.read_json(SCORES / f"{name}.json").items():
        line |= {world: score["mean"], f"{world}_sem": score["sem"]}
    return line


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Means with 95 % intervals, dream against real."""
    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    names = [row["round"] for row in rows]
    for world, colour in (("dream", "tab:purple"), ("real", "tab:green")):
        means = [row[world] for row in rows]
        errors = [1.96 * row[f"{world}_sem"] for row in rows]
        axes.errorbar(names, means, errors, label=world, color=colour, marker="o", capsize=3)
    axes.set(xlabel="round", ylabel="score of a whole episode (points)", ylim=(-100, 1000))
    axes.axhline(906, color="grey", linestyle=":", label="the paper's driver, trained in reality: 906")
    axes.legend(loc="lower right")
    figure.tight_layout()
    with files.replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", metadata={"Software": None})


if __name__ == "__main__":
    config.run(main)
