"""The scripted drivers by the names that params.yaml, the stages and the shards use."""

from collections.abc import Callable

import numpy as np

from wm.track.erratic import Erratic
from wm.track.lane_follower import LaneFollower, LaneStyle
from wm.track.rollout import Driver

DriverFactory = Callable[[np.random.Generator, float], Driver]


def _lane_follower(rng: np.random.Generator, step_seconds: float) -> Driver:
    return LaneFollower(LaneStyle.random(rng), rng, step_seconds)


def _erratic(rng: np.random.Generator, step_seconds: float) -> Driver:
    return Erratic(rng)


DRIVERS: dict[str, DriverFactory] = {"lane_follower": _lane_follower, "erratic": _erratic}
"""Makes the driver of one episode from a random generator and the seconds that an action lasts. A name here
needs the same name in `wm.params.collect.DRIVERS`."""
