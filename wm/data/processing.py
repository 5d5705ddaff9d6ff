"""Raw drives as training data: filtered by score, cut, mirrored, some tracks set aside for validation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wm.data.episode import Episode, Record, mirror
from wm.data.shards import Shards
from wm.data.split import marked, validation_tracks
from wm.errors import BadInput
from wm.params.file import PARAMS
from wm.spec import FRAME_REWARD, LAP_POINTS, Timing

LEAVING_FRAMES = 20  # without a new tile, after which the car has left the road
COLUMNS = ("actions", "rewards", "missed", "terminated", "truncated")  # of an episode, without observations


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

    def episodes(self, shards: Shards, record: Record, timing: Timing) -> Iterator[Episode]:
        """The drive's first lap, and its mirror image if it is kept and drives are mirrored."""
        episode = missed_when_leaving(first_lap(shards.read(record), timing), timing)
        yield episode
        if self.mirror and record.kept:
            yield mirror(episode)


def first_lap(episode: Episode, timing: Timing) -> Episode:
    """The episode up to the step in which the last tile is visited or missed.

    A car that has missed a tile drives on over road that it has visited, which earns nothing. Nothing in a
    frame announces this moment, so an M trained on it would dream of it in the middle of laps. A drive whose
    `missed` is not known is returned whole.
    """
    points = np.maximum(episode.rewards.astype(float) - timing.idle_reward, 0)  # of tiles
    points[points < 2] = 0  # rounding, or a last step cut short; no track has five hundred tiles
    if not points.any():
        return episode
    tile = points[points > 0].min()
    before = episode.record.warm_up_reward - FRAME_REWARD * timing.warm_up_frames
    unvisited = np.round((LAP_POINTS - before - np.cumsum(points)) / tile)
    ends = np.flatnonzero(unvisited <= np.cumsum(episode.missed))
    length = int(ends[0]) + 1 if len(ends) else len(points)
    return replace(
        episode,
        record=replace(episode.record, length=length),
        observations={name: rows[:length] for name, rows in episode.observations.items()},
        **{name: getattr(episode, name)[:length] for name in COLUMNS},
    )


def missed_when_leaving(episode: Episode, timing: Timing) -> Episode:
    """The episode with missed tiles counted when the car leaves the road: `LEAVING_FRAMES` after a tile.

    The track counts them when the car visits a later tile. From this M would learn that returning to the road
    costs points, and a controller that has left it would not return. A drive that ends off the road has
    missed one tile.
    """
    leaving = round(LEAVING_FRAMES / timing.action_repeat)
    visits = np.concatenate([[0], np.flatnonzero(episode.rewards > 0)])
    missed = np.zeros_like(episode.missed)
    for step in np.flatnonzero(episode.missed):
        last_visit = visits[visits < max(step, 1)][-1]
        missed[min(last_visit + leaving, step)] += episode.missed[step]
    if visits[-1] + leaving < len(missed):
        missed[visits[-1] + leaving] += 1
    return replace(episode, missed=missed)


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
