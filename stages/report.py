"""Dream beside reality, round by round, and the page that tells all: `python -m stages report`."""

import csv
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from wm.agent import summary
from wm.data.shards import Shards
from wm.errors import BadInput
from wm.params.model import MACHINE_SECTIONS, Params
from wm.params.rounds import INIT
from wm.report import page as report_page
from wm.report.page import Content, Round
from wm.runtime import files, results

FIGURES, PROCESSED, METRICS = Path("data/figures"), Path("data/processed"), Path("metrics")
WORLDS = ("dream", "real")
TABLES = {  # the columns of each that the page shows; a word lies in the column `round`
    "ranks.csv": ("round", "dream", "real"),
    "train_vae.csv": ("step", "train_loss", "loss", "squared_error", "kl"),
    "real.csv": ("score",),
    "train_rnn.csv": ("step", "train_loss", "loss"),
    "evolve.csv": ("number", "mean_return", "sigma"),
    "exploitation.csv": ("steps", "dream_reward", "real_reward", "dream_winning", "real_winning"),
}
MEND = "Run `dvc checkout` or `dvc repro`."
LIBRARIES = (
    "jax",
    "equinox",
    "optax",
    "cma",
    "gymnasium",
    "box2d",
    "pygame-ce",
    "numpy",
    "opencv-python-headless",
    "pyarrow",
    "matplotlib",
    "dvc",
)


def main(params: Params) -> None:
    rounds = [read_round(name) for name in params.rounds]
    shown = params.model_dump(exclude=set(MACHINE_SECTIONS))
    ranks = results.read(METRICS / "ranks.json", results.Ranks)[0]
    ranked = read_csv(METRICS / "ranks.csv")
    page = report_page.page(content(shown, rounds, ranks, ranked))
    rows = report_page.score_rows(rounds)
    files.write_csv(METRICS / "rounds.csv", rows)
    chosen = next(row for row in rows if row["round"] == ranks.chosen)
    gap = chosen["dream"] - chosen["real"]
    written = {
        "gap": round(gap, 2),
        "gap_relative": round(gap / max(abs(chosen["real"]), 1e-9), 4),
        "impossible_dream": any(row["dream"] > summary.IMPOSSIBLE for row in rows),
    }
    files.write_json(METRICS / "gap.json", written)
    picture(rows, ranked, METRICS / "rounds.png")
    with files.replacing(METRICS / "report.html") as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def content(
    params: dict[str, Any], rounds: list[Round], ranks: results.Ranks, ranked: list[dict[str, str]]
) -> Content:
    """All that the page shows."""
    folder = FIGURES / ranks.chosen
    names = [INIT, *params["rounds"]]
    records = [record for name in names for record in Shards(PROCESSED / name).records]
    return Content(
        rounds=rounds,
        chosen=next(one for one in rounds if one.name == ranks.chosen),
        train_vae=read_csv(METRICS / "train_vae.csv"),
        active_dimensions=results.read(METRICS / "train_vae.json", results.Seen)[0].active_dimensions,
        ranked=ranked,
        rank_correlation=ranks.rank_correlation,
        sources=report_page.sources(records),
        strip=read_bytes(folder / "drive.png"),
        film=read_bytes(folder / "drive.webm"),
        reconstructions=read_bytes(METRICS / "reconstructions.png"),
        params=params,
        versions={name: version(name) for name in LIBRARIES},
    )


def read_round(name: str) -> Round:
    """A round's figures."""
    folder = FIGURES / name
    return Round(
        name=name,
        dream=results.read(folder / "dream.json", results.Dream)[1],
        real=results.read(folder / "real.json", results.Real)[1],
        fidelity=results.read(folder / "fidelity.json", results.Found)[1],
        tracks=read_csv(folder / "real.csv"),
        train_rnn=read_csv(folder / "train_rnn.csv"),
        evolve=read_csv(folder / "evolve.csv"),
        exploitation=read_csv(folder / "exploitation.csv"),
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table by the names in its first line. Raises BadInput."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row, column in product(rows, TABLES[path.name]):
            if column != "round":
                float(row[column])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise BadInput(f"{path}: no table of figures ({error!r}). {MEND}") from None
    return rows


def read_bytes(path: Path) -> bytes:
    """A picture or film. Raises BadInput where it is missing."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, wanted what a stage drew. {MEND}") from None


def picture(rows: list[dict[str, Any]], ranked: list[dict[str, str]], path: Path) -> None:
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
        dreamt, real = ([float(one[world]) for one in ranked if one["round"] == name] for world in WORLDS)
        right.scatter(dreamt, real, s=16, label=name)
    limits = (-150, 1000)
    right.plot(limits, limits, color="grey", linestyle=":")
    right.set(xlabel="median dream (points)", ylabel="mean on the track (points)", xlim=limits, ylim=limits)
    right.set_title("controllers on evolution's way, and perturbed", fontsize="medium")
    right.legend(loc="upper left", fontsize="small")
    figure.tight_layout()
    with files.replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", metadata={"Software": None})
