"""An episode on the real track, step by step, and its record in the manifest."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict


@dataclass(frozen=True)
class Record:
    """An episode in the manifest. `score` is the whole return, the warm-up's included."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", allow_inf_nan=False)

    episode: int
    seed: int
    source: str
    length: int
    score: float
    warm_up_reward: float
    lap_finished: bool
    kept: bool = True
    mirrored: bool = False
    validation: bool = False
    shard: str = ""
    row_group: int = -1


@dataclass(frozen=True)
class Episode:
    """An episode of T steps: row t has the observation, the action taken then, and its result.

    `observations` maps a column to its rows: `frame` to uint8 (T, 64, 64, 3), or `mu` and `logvar` to float32
    (T, latent). `actions` is float32 (T, 3), `rewards` float32 (T,), `missed` int16 (T,) counts newly missed
    tiles. `terminated` marks failure only (the car left the playfield); an episode that ends with a finished
    lap or after the last frame is `truncated`.
    """

    record: Record
    observations: dict[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    missed: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


def mirror(episode: Episode) -> Episode:
    """The mirrored episode: frames flipped left to right, steering negated."""
    frames = episode.observations["frame"]
    return replace(
        episode,
        record=replace(episode.record, mirrored=not episode.record.mirrored),
        observations={"frame": np.ascontiguousarray(frames[:, :, ::-1])},
        actions=episode.actions * np.array([-1, 1, 1], np.float32),
    )
