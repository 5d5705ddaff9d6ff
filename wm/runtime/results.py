"""Scores that one stage writes and another reads: the JSON files of metrics/."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

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
from wm.runtime.rules import Rules


class Found(Section):
    """What is read of a file that says more."""

    model_config = ConfigDict(extra="ignore")


class Score(Found):
    """A summary of scores, in points; see `metrics.summary`."""

    mean: float
    sem: float


class Summary(Found):
    """A summary of scores, in points."""

    mean: float
    std: float
    sem: float
    median: float
    min: float
    max: float
    n: PositiveInt


class Ranks(Found):
    """ranks.json."""

    chosen: str
    rank_correlation: float


class Seen(Found):
    """train_vae.json."""

    active_dimensions: NonNegativeInt


class Measured(Found):
    """dream.json or real.json, as people are shown it."""

    score: Summary
    laps: NonNegativeInt
    lap_frames: PositiveFloat | None  # mean of the finished laps
    missed: float  # tiles per drive
    failures: float  # share of the drives
    below_600: NonNegativeInt | None = None  # drives; unknown in older files


class Drift(Found):
    """fidelity.json."""

    drift: dict[str, float]


class DreamScores(Found):
    """dream.json."""

    score: Score
    rules: Rules


class AgentDream(Found):
    """dream.json of a published agent; those of early agents do not contain the rules."""

    rules: Rules | None = None


class TrackScores(Found):
    """ranked.json: mean scores of controllers on real tracks, by name."""

    real: Annotated[dict[str, float], Field(min_length=1)]


K = TypeVar("K", bound=Section)


def read(path: Path, kind: type[K]) -> tuple[K, Any]:
    """What the file says, checked, and as it stands there. Raises BadInput."""
    content = files.read_json(path)
    try:
        return section.validated(kind, content, str(path)), content
    except BadInput as error:
        raise BadInput(f"{error}. Run `dvc checkout` or `dvc repro`.") from None
