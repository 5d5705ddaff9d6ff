"""The comparison of dream and reality by round, and the report: `python -m stages report`."""

import csv
from importlib.metadata import version
from itertools import product
from pathlib import Path

from wm.data.shards import Shards
from wm.errors import BadInput, listed, shown
from wm.params.model import MACHINE_SECTIONS, Params
from wm.params.rounds import INIT
from wm.report import charts, summary
from wm.report.content import Content, RoundResults, score_rows, sources
from wm.report.page import page
from wm.runtime import files, results
from wm.runtime.places import METRICS, PROCESSED, ROUND_METRICS

COLUMNS = {  # that the report reads; all but `round` and `lap_finished` hold numbers
    "ranks.csv": ("round", "dream", "real"),
    "train_vae.csv": ("step", "train_loss", "loss", "squared_error", "kl"),
    "real.csv": ("score", "lap_finished"),
    "train_rnn.csv": ("step", "train_loss", "loss"),
    "evolve.csv": ("number", "mean_return", "sigma"),
    "exploitation.csv": (
        "steps",
        "dream_reward",
        "real_reward",
        "dream_winning",
        "real_winning",
        "real_on_road",
    ),
}
WORDS = ("round", "lap_finished")
REMEDY = "Run `dvc checkout` or `dvc repro`."
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
    content = read(params)
    document = page(content)
    files.write_csv(METRICS / "rounds.csv", score_rows(content.rounds))
    summary.write(METRICS / "summary", content)
    files.write_bytes(METRICS / "rounds.png", content.rounds_figure)
    files.write_bytes(METRICS / "report.html", document.encode())


def read(params: Params) -> Content:
    """All that the report shows. Raises BadInput."""
    ranks = results.read(METRICS / "ranks.json", results.Ranks)
    if ranks.chosen not in params.rounds:
        found, expected = shown(ranks.chosen), listed(params.rounds)
        raise BadInput(f"{METRICS}/ranks.json: chosen: found {found}, expected one of {expected}. {REMEDY}")
    ranked = read_csv(METRICS / "ranks.csv")
    rounds = {name: read_round(name, ROUND_METRICS / name) for name in params.rounds}
    names = [INIT, *params.rounds]
    records = [record for name in names for record in Shards(PROCESSED / name).records]
    return Content(
        rounds=list(rounds.values()),
        chosen=rounds[ranks.chosen],
        train_vae=read_csv(METRICS / "train_vae.csv"),
        active_dimensions=results.read(METRICS / "train_vae.json", results.VAEResults).active_dimensions,
        ranked=ranked,
        rank_correlation=ranks.rank_correlation,
        sources=sources(records),
        rounds_figure=charts.rounds(score_rows(list(rounds.values())), ranked),
        strip=read_bytes(ROUND_METRICS / ranks.chosen / "drive.png"),
        film=read_bytes(ROUND_METRICS / ranks.chosen / "drive.webm"),
        reconstructions=read_bytes(METRICS / "reconstructions.png"),
        params=params.model_dump(exclude=set(MACHINE_SECTIONS)),
        versions={name: version(name) for name in LIBRARIES},
    )


def read_round(name: str, folder: Path) -> RoundResults:
    """The results of a round. Raises BadInput."""
    return RoundResults(
        name=name,
        dream=results.read(folder / "dream.json", results.DriveSummary),
        real=results.read(folder / "real.json", results.DriveSummary),
        drift=results.read(folder / "fidelity.json", results.Drift).drift,
        tracks=read_csv(folder / "real.csv"),
        train_rnn=read_csv(folder / "train_rnn.csv"),
        evolve=read_csv(folder / "evolve.csv"),
        exploitation=read_csv(folder / "exploitation.csv"),
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table, by column. Raises BadInput."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row, column in product(rows, COLUMNS[path.name]):
            if column not in WORDS:
                float(row[column])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        columns = ", ".join(COLUMNS[path.name])
        raise BadInput(f"{path}: {error!r}, expected a table with the columns {columns}. {REMEDY}") from None
    return rows


def read_bytes(path: Path) -> bytes:
    """A picture or a film. Raises BadInput if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, expected a picture or a film. {REMEDY}") from None
