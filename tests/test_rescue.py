"""The lane follower brings cars back to the road."""

import numpy as np
import pytest

from wm.agent.rescue import OFF_ROAD_FRAMES, Rescue
from wm.spec import Timing
from wm.track.real_track import RealTrack
from wm.track.rollout import rollout

TIMING = Timing(action_repeat=4, warm_up_frames=50)
STEPS = OFF_ROAD_FRAMES // TIMING.action_repeat
STRAIGHT_ON = np.array([0.0, 0.3, 0.0], np.float32)


def drive(seed, rescue=None):
    """A car that never steers, unless it is rescued; and the steps in which it was."""
    running, helped = rollout(RealTrack(TIMING.action_repeat, TIMING.warm_up_frames), seed, "x"), []
    sight = next(running)
    try:
        while True:
            action = rescue.action(sight) if rescue else None
            helped.append(action is not None)
            sight = running.send(STRAIGHT_ON if action is None else action)
    except StopIteration as end:
        return end.value, np.array(helped)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_rescued_car_returns_to_the_road(seed):
    alone, _ = drive(seed)
    rescued, helped = drive(seed, Rescue(TIMING))
    assert helped.any()
    first = int(np.argmax(helped))
    assert np.array_equal(rescued.actions[:first], alone.actions[:first])
    assert np.sum(rescued.rewards > 0) > 1.5 * np.sum(alone.rewards > 0)


def test_the_lane_follower_drives_until_the_car_visits_a_tile():
    _, helped = drive(1, rescue := Recorded())
    idle = 0
    for step, reward in enumerate(rescue.rewards):
        idle = 0 if reward > 0 else idle + 1
        assert helped[step] == (idle >= STEPS)


class Recorded(Rescue):
    """A rescue that remembers the rewards."""

    def __init__(self):
        super().__init__(TIMING)
        self.rewards = []

    def action(self, sight):
        self.rewards.append(sight.reward)
        return super().action(sight)
