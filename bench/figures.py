"""Draws docs/experiments/figures/*.png from docs/runs.csv and docs/experiments/data.

uv run python -m bench.figures
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench import process, tables
from bench.pages import DATA, PAGES
from bench.runs import RUNS
from wm.runtime import run

FIGURES = PAGES / "figures"
ROUNDS = {
    "simulator": ("own-rnn", "own-rnn-refine", "long-dreams"),
    "terminal-value": ("long-dreams", "linear-value", "network-value"),
    "refine": ("network-value", "missed-tiles", "refine"),
    "rounds": ("tone-curve", "from-scratch-3", "green-cut"),
    "off-track-starts": ("refine", "off-track-half", "off-track-tenth"),
    "tone-curve": ("two-searches", "kl-weight-0.3", "tone-curve"),
    "action-repeat": ("four-frames", "three-frames", "two-frames"),
    "worst-dreams": ("four-frames", "cvar-0.25", "denoised-evolution"),
}
PREFIXES = {"A": "A: quality of M", "B": "B: action limits", "C": "C: sampling"}


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    for name, names in ROUNDS.items():
        rounds(name, names)
    steps()
    gap_causes()
    print(f"{FIGURES}: {len(ROUNDS) + 2} figures")


def rounds(figure: str, names: Sequence[str]) -> None:
    """Real score (solid) and dream score (dashed) by round, seed 1 of each run."""
    axes = canvas("round", "points, mean of 100 drives")
    rows = tables.rows(RUNS)
    for number, name in enumerate(names):
        of_run = [row for row in rows if (row["run"], row["seed"]) == (name, "1")]
        labels = [row["round"] for row in of_run]
        colour = f"C{number}"
        axes.plot(labels, values(of_run, "real_mean"), "o-", color=colour, label=f"{name}, real")
        axes.plot(
            labels, values(of_run, "dream_mean"), ".--", color=colour, alpha=0.6, label=f"{name}, dream"
        )
    save(axes, figure)


def steps() -> None:
    """Real score of each published agent, with its standard deviation."""
    published = {row["run"]: row for row in tables.rows(RUNS) if row["published"] and row["seed"] == "1"}
    names = [step["run"] for step in tables.rows(DATA / "steps.csv")]
    axes = canvas("", "real points, mean and std of 100 tracks")
    scores = [published[name] for name in names]
    axes.errorbar(names, values(scores, "real_mean"), values(scores, "real_std"), fmt="o-", capsize=3)
    plt.setp(axes.get_xticklabels(), rotation=45, ha="right")
    save(axes, "steps", legend=False)


def gap_causes() -> None:
    """Dream against real score of the controllers of bench.gap_causes."""
    axes = canvas("dream, mean of 100 drives", "real, mean of 40 drives")
    rows = tables.rows(DATA / "gap_causes.csv")
    groups = {
        label: [row for row in rows if row["name"].startswith(f"{letter}:")]
        for letter, label in PREFIXES.items()
    }
    for label, group in ({"default": [row for row in rows if row["name"] == "default"]} | groups).items():
        axes.plot(values(group, "dream"), values(group, "mean"), "o", alpha=0.8, label=label)
    axes.plot([-100, 950], [-100, 950], color="grey", linewidth=0.8, label="dream = real")
    save(axes, "gap-causes")


def values(rows: Sequence[tables.Row], column: str) -> list[float]:
    """A numeric column."""
    return [float(row[column]) for row in rows]


def canvas(x: str, y: str) -> Axes:
    """Empty axes with these names."""
    _, axes = plt.subplots(figsize=(7, 4))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return axes


def save(axes: Axes, name: str, *, legend: bool = True) -> None:
    """Writes the figure as PNG."""
    if legend:
        axes.legend(fontsize=8)
    path: Path = FIGURES / f"{name}.png"
    plt.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})
    plt.close("all")


if __name__ == "__main__":
    process.set_up()
    run.run(main)
