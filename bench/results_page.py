"""Writes docs/results.md from metrics/, docs/runs.csv and docs/experiments/data.

uv run python -m bench.results_page
"""

import math
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import process, tables
from bench.pages import DATA, DOCS
from bench.runs import METRICS, RUNS, below
from bench.tables import Row, markdown
from wm.runtime import files, run

PAGE = DOCS / "results.md"
RUN = "two-costs"  # name of the published run in docs/runs.csv
BEST = "two-frames"  # name of the run of the profile best
TEMPLATE = Path(__file__).with_name("results_page.md.in")
SCORES = [
    "round",
    "real drives",
    "real frames",
    "M: NLL",
    "dream mean",
    "dream std",
    "real mean",
    "real std",
    "median",
    "worst",
    "best",
    "laps",
    "missed tiles",
    "below 600",
]
FRESH = [
    "first track",
    "tracks",
    "real mean",
    "real std",
    "median",
    "worst",
    "laps",
    "lap frames",
    "below 600",
    "dream mean",
    "dream std",
]
SEEDS = [
    "run",
    "seed",
    "round",
    "dream mean",
    "dream std",
    "real mean",
    "real std",
    "laps",
    "lap frames",
    "below 600",
]
EXPLOITATION = ["steps", "dream reward", "real reward", "correlation", "on road"]
WORLDS = ["world", "mean", "std", "median", "worst", "laps", "lap frames", "missed tiles", "below 600"]


class Pool(NamedTuple):
    """Scores of several sets of tracks together."""

    tracks: int
    mean: float
    std: float
    laps: int
    below_600: int

    @property
    def sem(self) -> float:
        """Standard error of the mean."""
        return self.std / math.sqrt(self.tracks)


def main() -> None:
    with files.replacing(PAGE) as unfinished:
        unfinished.write_text(page(), encoding="utf-8")
    print(PAGE)


def page() -> str:
    """docs/results.md."""
    chosen = files.read_json(METRICS / "ranks.json")["chosen"]
    fidelity = files.read_json(METRICS / "fidelity.json")
    real, dream = files.read_json(METRICS / "real.json"), scores(chosen, "dream")
    fresh = [row for row in tables.rows(DATA / "fresh_tracks.csv") if row["run"] == RUN]
    first = rounds()[0]
    pool = pooled([row for row in fresh if row["first_track"] != "900000"])
    windows = tables.rows(METRICS / "exploitation.csv")
    values = {
        "chosen": chosen,
        "real": f"{real['score']['mean']:.1f}",
        "dream": f"{dream['score']['mean']:.1f}",
        "fresh": f"{pool.mean:.1f}",
        "fresh_std": f"{pool.std:.1f}",
        "fresh_sem": f"{pool.sem:.1f}",
        "fresh_tracks": f"{pool.tracks:,}",
        "fresh_laps": f"{pool.laps:,}",
        "fresh_below": str(pool.below_600),
        "best_mean": f"{seeds_mean(BEST):.1f}",
        "correlation": f"{fidelity['rank_correlation']:.2f}",
        "correlation_of_means": f"{fidelity['rank_correlation_of_means']:.2f}",
        "first_dream": f"{scores(first, 'dream')['score']['mean']:.0f}",
        "first_real": f"{scores(first, 'explore')['score']['mean']:.0f}",
        "laps": str(real["laps"]),
        "controllers": str(fidelity["controllers"]),
        "worlds_table": markdown(
            WORLDS, [world(METRICS / "real.csv", real), world(folder(chosen) / "dream.csv", dream)]
        ),
        "fresh_table": markdown(FRESH, [fresh_cells(row) for row in fresh]),
        "rounds_table": markdown(SCORES, [round_cells(name) for name in rounds()]),
        "seeds_table": markdown(SEEDS, [seed_cells(row) for row in published()]),
        "latent_drift": f"{fidelity['drift']['latent_20']:.2f}",
        "points_drift": f"{fidelity['drift']['reward_20']:.1f}",
        "exploitation_table": markdown(
            EXPLOITATION, [exploitation_cells(row) for row in (windows[0], windows[5], windows[-1])]
        ),
    }
    return wrapped(TEMPLATE.read_text(encoding="utf-8").format(**values))


def wrapped(text: str) -> str:
    """The page with its paragraphs and list items filled to 98 columns."""
    blocks = []
    for block in text.split("\n\n"):
        items = re.split(r"\n(?=- )", block)
        fixed = block.startswith(("|", "#", "`", "!", "<"))
        blocks.append(block if fixed else "\n".join(fill(item) for item in items))
    return "\n\n".join(blocks).rstrip() + "\n"


def fill(item: str) -> str:
    """One paragraph or list item in lines of 98 columns at most."""
    indent = "  " if item.startswith("- ") else ""
    return textwrap.fill(
        " ".join(item.split()), 98, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def folder(round_name: str) -> Path:
    """The metrics of a round."""
    return METRICS / "rounds" / round_name


def rounds() -> list[str]:
    """The rounds of the published run."""
    return [row["round"] for row in published_run()]


def published_run() -> list[Row]:
    """The published run's rows of docs/runs.csv."""
    return [row for row in tables.rows(RUNS) if (row["run"], row["seed"]) == (RUN, "1")]


def published() -> list[Row]:
    """The published rounds of all seeds: the default, `best`, and the runs with action repeat 3 and 4."""
    names = (RUN, BEST, "three-frames", "four-frames")
    rows = [row for row in tables.rows(RUNS) if row["published"] and row["run"] in names]
    return sorted(rows, key=lambda row: (names.index(row["run"]), row["seed"]))


def seeds_mean(run: str) -> float:
    """The mean real score of a run's published rounds over its seeds."""
    return float(np.mean([float(row["real_mean"]) for row in published() if row["run"] == run]))


def scores(round_name: str, world: str) -> dict[str, Any]:
    """A round's dream.json, or explore.json with its real score."""
    return files.read_json(folder(round_name) / f"{world}.json")


def pooled(rows: list[Row]) -> Pool:
    """Mean and std over all tracks of several rows, from each row's mean and std."""
    counts = [int(row["tracks"]) for row in rows]
    means, stds = ([float(row[f"real_{key}"]) for row in rows] for key in ("mean", "std"))
    total = sum(counts)
    mean = sum(n * m for n, m in zip(counts, means, strict=True)) / total
    square = sum(n * (s * s + m * m) for n, m, s in zip(counts, means, stds, strict=True)) / total
    return Pool(
        total,
        mean,
        math.sqrt(square - mean * mean),
        sum(int(row["laps"]) for row in rows),
        sum(int(row["below_600"]) for row in rows),
    )


def world(drives: Path, measured: dict[str, Any]) -> list[str]:
    """A row of the table of both worlds."""
    score = measured["score"]
    return [
        drives.stem,
        f"{score['mean']:.1f}",
        f"{score['std']:.1f}",
        *(f"{score[key]:.0f}" for key in ("median", "min")),
        str(measured["laps"]),
        f"{measured['lap_frames']:.0f}",
        f"{measured['missed']:.1f}",
        str(below(drives)),
    ]


def fresh_cells(row: Row) -> list[str]:
    """A row of the table of fresh tracks."""
    real = [row[f"real_{key}"] for key in ("mean", "std", "median", "min")]
    others = [row[key] for key in ("laps", "lap_frames", "below_600", "dream_mean", "dream_std")]
    return [row["first_track"], row["tracks"], *real, *others]


def round_cells(name: str) -> list[str]:
    """A row of the table of rounds."""
    real, dream = scores(name, "explore"), scores(name, "dream")
    losses = files.read_json(folder(name) / "train_rnn.json")
    (data,) = (row for row in published_run() if row["round"] == name)
    return [
        name,
        *(f"{int(data[key]):,}" for key in ("real_drives", "real_frames")),
        f"{losses['rnn']['nll']:.1f}",
        *(f"{dream['score'][key]:.1f}" for key in ("mean", "std")),
        *(f"{real['score'][key]:.1f}" for key in ("mean", "std")),
        *(f"{real['score'][key]:.0f}" for key in ("median", "min", "max")),
        str(real["laps"]),
        f"{real['missed']:.1f}",
        str(below(folder(name) / "explore.csv")),
    ]


def seed_cells(row: Row) -> list[str]:
    """A row of the table of seeds."""
    decimals = [f"{float(row[key]):.1f}" for key in ("dream_mean", "dream_std", "real_mean", "real_std")]
    frames = f"{float(row['lap_frames']):.0f}"
    return [row["run"], row["seed"], row["round"], *decimals, row["laps"], frames, row["below_600"]]


def exploitation_cells(window: Row) -> list[str]:
    """A row of the exploitation test: rewards in points per step."""
    keys = ("dream_reward", "real_reward", "agreement", "real_on_road")
    return [window["steps"], *(f"{float(window[key]):.2f}" for key in keys)]


if __name__ == "__main__":
    process.set_up()
    run.run(main)
