"""Raw drives as training data: filtered by score, mirrored, some tracks set aside for validation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wm.data.episode import Episode, Record, mirror
from wm.data.shards import Shards
from wm.data.split import marked, validation_tracks
from wm.errors import BadInput
from wm.params.file import PARAMS


@dataclass(frozen=True)
class Processing:
    """How raw drives become training data; the fields are the parameters of `process` in params.yaml."""

    seed: int
    mirror: bool
    validation_share: float
    min_score: Mapping[str, float]

    def filtered(self, source: str, records: Sequence[Record]) -> list[Record]:
        """A source's records, marked. Raises BadInput if the filter keeps none."""
        min_score = self.min_score.get(source, -np.inf)
        new = marked(records, min_score, validation_tracks(records, self.validation_share, self.seed))
        if not any(record.kept for record in new):
            place = f"{PARAMS}: process.min_score.{source}: found {min_score}"
            raise BadInput(f"{place}, expected less than a drive scores; the scores are {_scores(new)}")
        return new

    def episodes(self, shards: Shards, record: Record) -> Iterator[Episode]:
        """The drive, and its mirror image if it is kept and drives are mirrored."""
        episode = shards.read(record)
        yield episode
        if self.mirror and record.kept:
            yield mirror(episode)


def check_sides(records: Sequence[Record], sides: Mapping[bool, str]) -> None:
    """Raises BadInput for a filter that leaves a side of the validation split without a drive."""
    for side, name in sides.items():
        on_side = [record for record in records if record.validation == side]
        if not any(record.kept for record in on_side):
            found = f"found no drive for {name}, expected one; the scores are {_scores(on_side)}"
            raise BadInput(f"{PARAMS}: process.min_score, process.validation_share: {found}")


def _scores(records: Sequence[Record]) -> str:
    """The first twenty scores."""
    return ", ".join(f"{record.score:.0f}" for record in records[:20])
