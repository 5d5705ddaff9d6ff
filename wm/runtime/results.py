"""Scores that one stage writes and another reads: the JSON files of metrics/."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt

from wm.errors import BadInput, listed, shown
from wm.params import section
from wm.params.section import Section
from wm.runtime import files
from wm.runtime.places import METRICS, remedy


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


class VAEResults(PartialFile):
    """train_vae.json."""

    active_dimensions: NonNegativeInt


class DriveSummary(PartialFile):
    """The summary of drives in one world: dream.json, explore.json or real.json."""

    score: Summary
    laps: NonNegativeInt
    lap_frames: PositiveFloat | None  # mean of the finished laps
    missed: float  # tiles per drive
    failures: float  # share of the drives
    below_600: NonNegativeInt | None = None  # drives; unknown in older files


class Explored(DriveSummary):
    """explore.json: a round's real score, from drives without action noise."""

    tracks: str
    """kind of the tracks: exploring; in older runs, which evaluated every round, evaluation"""


class Fidelity(PartialFile):
    """fidelity.json."""

    drift: dict[str, float]
    rank_correlation: float


K = TypeVar("K", bound=Section)


def read(path: Path, kind: type[K]) -> K:
    """The file's content, checked. Raises BadInput."""
    content = files.read_json(path)
    try:
        return section.validated(kind, content, str(path))
    except BadInput as error:
        raise BadInput(f"{error}. {remedy(path)}") from None


def chosen_round(rounds: Iterable[str]) -> str:
    """The one of these rounds that the stage `rank` chose. Raises BadInput, also for another round."""
    path = METRICS / "ranks.json"
    chosen = read(path, Ranks).chosen
    if chosen not in rounds:
        found = f"{path}: chosen: found {shown(chosen)}, expected one of {listed(rounds)}"
        raise BadInput(f"{found}. {remedy(path)}")
    return chosen
