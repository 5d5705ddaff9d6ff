"""What the report shows."""

import csv
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from wm.data.episode import Record
from wm.data.shards import Shards
from wm.errors import BadInput
from wm.params.names import INIT
from wm.report import charts
from wm.report.numbers import Rows
from wm.runtime import results
from wm.runtime.places import LATENTS, METRICS, RAW, ROUND_METRICS, remedy
from wm.runtime.results import DriveSummary, Explored

COLUMNS = {  # that the report reads; all but `TEXT_COLUMNS` hold numbers
    "controllers.csv": ("round", "dream", "real"),
    "train_vae.csv": ("step", "train_loss", "loss", "squared_error", "kl"),
    "real.csv": ("score", "lap_finished"),
    "train_rnn.csv": ("step", "train_loss", "loss"),
    "evolve.csv": ("number", "mean_fitness", "sigma"),
    "exploitation.csv": (
        "steps",
        "dream_reward",
        "real_reward",
        "dream_winning",
        "real_winning",
        "real_on_road",
    ),
    "closed_loop.csv": ("seconds", "quantity", "series", "mean", "low", "high"),
}
TEXT_COLUMNS = ("round", "lap_finished", "quantity", "series")
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


class FidelityResults(results.Fidelity):
    """fidelity.json with the R2 of the closed-loop drift's probes, by label; older files have none."""

    probes: dict[str, float] = Field(default_factory=dict)


class RoundResults(NamedTuple):
    """The results of one round; the tables are the CSV files of its folder in metrics/rounds."""

    name: str
    dream: DriveSummary
    real: Explored
    train_rnn: Rows
    evolve: Rows


class ChosenResults(NamedTuple):
    """The results of the published agent. `real` and `tracks` are its evaluation, real.json and real.csv;
    `probes` are the shares of variance that the probes of `closed_loop` explain."""

    name: str
    dream: DriveSummary
    real: DriveSummary
    tracks: Rows
    drift: Mapping[str, float]
    exploitation: Rows
    closed_loop: Rows
    probes: Mapping[str, float]
    train_rnn: Rows  # of its round


class Source(NamedTuple):
    """Drives of one driver; mirrored copies count in `mirrored` only. Scores of all drives in points."""

    name: str
    drives: int
    kept: int
    mirrored: int
    validation: int  # of the kept ones
    mean: float
    lowest: float
    highest: float
    steps: int  # of the kept ones


class Content(NamedTuple):
    """All that the report shows; pictures and film are the bytes of their files. Fields with a default come
    from files that are not in git."""

    rounds: Sequence[RoundResults]
    chosen: ChosenResults
    train_vae: Rows
    active_dimensions: int
    ranked: Rows
    rank_correlation: float
    rounds_figure: bytes
    params: Mapping[str, Any]
    versions: Mapping[str, str]
    sources: Sequence[Source] = ()
    strip: bytes = b""
    film: bytes = b""
    reconstructions: bytes = b""


def read(rounds: Sequence[str], params: Mapping[str, Any]) -> Content:
    """All that the report shows of these rounds and params. Raises BadInput."""
    content = from_metrics(rounds, params)
    names = {**dict.fromkeys(params["collect"], INIT), **{name: name for name in rounds}}
    return content._replace(
        sources=[read_source(source, LATENTS / latents) for source, latents in names.items()],
        strip=read_bytes(METRICS / "drive.png"),
        film=read_bytes(METRICS / "drive.webm"),
        reconstructions=read_bytes(METRICS / "reconstructions.png"),
    )


def from_metrics(rounds: Sequence[str], params: Mapping[str, Any]) -> Content:
    """What the tables and numbers in metrics/ say, without drives, pictures and film. Raises BadInput."""
    chosen = results.chosen_round(rounds)
    fidelity = results.read(METRICS / "fidelity.json", FidelityResults)
    ranked = read_csv(METRICS / "controllers.csv")
    by_name = {name: read_round(name, ROUND_METRICS / name) for name in rounds}
    return Content(
        rounds=list(by_name.values()),
        chosen=read_chosen(by_name[chosen], fidelity),
        train_vae=read_csv(METRICS / "train_vae.csv"),
        active_dimensions=results.read(METRICS / "train_vae.json", results.VAEResults).active_dimensions,
        ranked=ranked,
        rank_correlation=fidelity.rank_correlation,
        rounds_figure=charts.rounds(score_rows(list(by_name.values())), ranked),
        params=params,
        versions={name: version(name) for name in LIBRARIES},
    )


def read_round(name: str, folder: Path) -> RoundResults:
    """The results of a round. Raises BadInput."""
    return RoundResults(
        name=name,
        dream=results.read(folder / "dream.json", results.DriveSummary),
        real=results.read(folder / "explore.json", results.Explored),
        train_rnn=read_csv(folder / "train_rnn.csv"),
        evolve=read_csv(folder / "evolve.csv"),
    )


def read_chosen(results_of_round: RoundResults, fidelity: FidelityResults) -> ChosenResults:
    """The results of the published agent, from its round's and the files in metrics/. Raises BadInput."""
    return ChosenResults(
        name=results_of_round.name,
        dream=results_of_round.dream,
        real=results.read(METRICS / "real.json", results.DriveSummary),
        tracks=read_csv(METRICS / "real.csv"),
        drift=fidelity.drift,
        exploitation=read_csv(METRICS / "exploitation.csv"),
        closed_loop=read_csv(METRICS / "closed_loop.csv"),
        probes=fidelity.probes,
        train_rnn=results_of_round.train_rnn,
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table, by column. Raises BadInput."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row, column in product(rows, COLUMNS[path.name]):
            if column not in TEXT_COLUMNS:
                float(row[column])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        columns = ", ".join(COLUMNS[path.name])
        raise BadInput(
            f"{path}: {error!r}, expected a table with the columns {columns}. {remedy(path)}"
        ) from None
    return rows


def read_bytes(path: Path) -> bytes:
    """A picture or a film. Raises BadInput if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, expected a picture or a film. {remedy(path)}") from None


def score_rows(rounds: Sequence[RoundResults]) -> list[dict[str, Any]]:
    """The rows of metrics/rounds.csv: mean scores and their standard errors in points, by round, and on how
    many tracks of which kind the real ones were measured."""
    rows = []
    for number, round_ in enumerate(rounds):
        row: dict[str, Any] = {"number": number, "round": round_.name}
        for world, score in (("dream", round_.dream.score), ("real", round_.real.score)):
            row |= {world: score.mean, f"{world}_sem": score.sem}
        rows.append(row | {"real_drives": round_.real.score.n, "tracks": round_.real.tracks})
    return rows


def read_source(name: str, latents: Path) -> Source:
    """The drives of a driver or of a round's agent, which are used as `latents`. Raises BadInput."""
    used = [record for record in Shards(latents).records if record.source == name]
    return of_source(name, Shards(RAW / name).records, used)


def of_source(name: str, drives: Sequence[Record], used: Sequence[Record]) -> Source:
    """A driver's drives, of which `used` are training data, mirrored copies included."""
    kept = [record for record in used if not record.mirrored]
    scores = [record.score for record in drives]
    return Source(
        name=name,
        drives=len(drives),
        kept=len(kept),
        mirrored=len(used) - len(kept),
        validation=sum(record.validation for record in kept),
        mean=float(np.mean(scores)),
        lowest=min(scores),
        highest=max(scores),
        steps=sum(record.length for record in kept),
    )
