"""What the report shows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wm.data.episode import Record
from wm.report.charts import Rows
from wm.runtime.results import DriveSummary


class RoundResults(NamedTuple):
    """The results of one round; the tables are the CSV files of its folder in metrics/rounds."""

    name: str
    dream: DriveSummary
    real: DriveSummary
    drift: Mapping[str, float]
    tracks: Rows  # real.csv
    train_rnn: Rows
    evolve: Rows
    exploitation: Rows


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
    """All that the report shows; pictures and film are the bytes of their files."""

    rounds: Sequence[RoundResults]
    chosen: RoundResults  # of the published agent
    train_vae: Rows
    active_dimensions: int
    ranked: Rows
    rank_correlation: float
    sources: Sequence[Source]
    rounds_figure: bytes
    strip: bytes
    film: bytes
    reconstructions: bytes
    params: Mapping[str, Any]
    versions: Mapping[str, str]


def score_rows(rounds: Sequence[RoundResults]) -> list[dict[str, Any]]:
    """The rows of metrics/rounds.csv: mean scores and their standard errors in points, by round."""
    rows = []
    for number, results in enumerate(rounds):
        row: dict[str, Any] = {"number": number, "round": results.name}
        for world, score in (("dream", results.dream.score), ("real", results.real.score)):
            row |= {world: score.mean, f"{world}_sem": score.sem}
        rows.append(row)
    return rows


def sources(records: Sequence[Record]) -> list[Source]:
    """The drives of each driver, in the order of their first drives."""
    return [
        source(name, [record for record in records if record.source == name])
        for name in dict.fromkeys(record.source for record in records)
    ]


def source(name: str, records: Sequence[Record]) -> Source:
    """The drives of one driver."""
    drives = [record for record in records if not record.mirrored]
    kept = [record for record in drives if record.kept]
    scores = [record.score for record in drives]
    return Source(
        name=name,
        drives=len(drives),
        kept=len(kept),
        mirrored=len(records) - len(drives),
        validation=sum(record.validation for record in kept),
        mean=float(np.mean(scores)),
        lowest=min(scores),
        highest=max(scores),
        steps=sum(record.length for record in kept),
    )
