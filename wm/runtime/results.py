"""Scores that one stage writes and another reads: the JSON files of metrics/."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from wm.errors import BadInput
from wm.params import section
from wm.params.section import Section
from wm.runtime import files
from wm.runtime.places import remedy


class PartialFile(Section):
    """The fields that are read of a file; it may contain others."""

    model_config = ConfigDict(extra="ignore")


class Score(PartialFile):
    """The mean of scores and its standard error, in points."""

    mean: float
    sem: float


class Summary(Score):
    """All of a summary of scores."""

    std: float
    median: float
    min: float
    max: float
    n: PositiveInt


class Ranks(PartialFile):
    """ranks.json."""

    chosen: str
    rank_correlation: float


class VAEResults(PartialFile):
    """train_vae.json."""

    active_dimensions: NonNegativeInt


class DriveSummary(PartialFile):
    """The summary of a round's drives: dream.json or real.json."""

    score: Summary
    laps: NonNegativeInt
    lap_frames: PositiveFloat | None  # mean of the finished laps
    missed: float  # tiles per drive
    failures: float  # share of the drives
    below_600: NonNegativeInt | None = None  # drives; unknown in older files


class Drift(PartialFile):
    """fidelity.json."""

    drift: dict[str, float]


class TrackScores(PartialFile):
    """ranked.json: mean scores of controllers on real tracks, by name."""

    real: Annotated[dict[str, float], Field(min_length=1)]


K = TypeVar("K", bound=Section)


def read(path: Path, kind: type[K]) -> K:
    """The file's content, checked. Raises BadInput."""
    content = files.read_json(path)
    try:
        return section.validated(kind, content, str(path))
    except BadInput as error:
        raise BadInput(f"{error}. {remedy(path)}") from None
