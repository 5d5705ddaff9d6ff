"""Help for a car off the road: the lane follower brings it back, so that M learns how cars return.

Agents stop on the grass. From their drives alone M would learn that no car returns.
"""

import numpy as np

from wm.spec import Timing
from wm.track.lane_follower import LaneFollower, LaneStyle
from wm.track.real_track import Action
from wm.track.rollout import Sight

OFF_ROAD_FRAMES = 40  # without a new tile, after which the lane follower takes over


class Rescue:
    """For one drive: the lane follower, from `OFF_ROAD_FRAMES` without a new tile until the next tile."""

    def __init__(self, timing: Timing) -> None:
        self._patience = OFF_ROAD_FRAMES / timing.action_repeat  # steps
        self._idle = 0  # steps without a new tile
        rng = np.random.default_rng(0)  # makes no difference in the plain style
        self._follower = LaneFollower(LaneStyle.plain(), rng, 1 / timing.steps_per_second)

    def action(self, sight: Sight) -> Action | None:
        """The action of the lane follower; None where the agent drives."""
        self._idle = 0 if sight.reward > 0 else self._idle + 1
        action = self._follower.act(sight.pixels)  # in every step, to remember where the road was
        return None if self._idle < self._patience else action
