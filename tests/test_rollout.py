"""Episodes: a step has the frame before its action and the reward after it."""

import numpy as np
import pytest

from wm.track import rollout
from wm.track.real_track import Observation, RealTrack
from wm.track.renderer import shrink


class Scripted:
    """Straight ahead at 0.8 gas, then to the right: soon off the road."""

    def __init__(self):
        self.frames = []

    def act(self, pixels):
        self.frames.append(shrink(pixels))
        return np.array([0.3 * (len(self.frames) > 20), 0.8, 0.0], np.float32)


class ShortTrack(RealTrack):
    """Ends an episode after `steps` actions with the given flags."""

    def __init__(self, steps, **end):
        super().__init__(action_repeat=4, warm_up_frames=50)
        self.steps, self.end = steps, end

    def reset(self, seed):
        self.left = self.steps
        return super().reset(seed)

    def step(self, action):
        self.left -= 1
        observation = super().step(action)
        return observation._replace(**self.end) if self.left == 0 else observation


@pytest.fixture(scope="module")
def recorded():
    driver = Scripted()
    return driver, rollout.drive_alone(ShortTrack(40, truncated=True), driver, 7, "scripted")


def test_step_t_has_the_frame_before_action_t_and_its_reward(recorded):
    driver, episode = recorded
    track = RealTrack(action_repeat=4, warm_up_frames=50)
    observation: Observation = track.reset(7)
    assert episode.record.warm_up_reward == pytest.approx(observation.reward, abs=1e-3)
    for t in range(episode.record.length):
        assert (episode.observations["frame"][t] == shrink(observation.pixels)).all()
        observation = track.step(episode.actions[t])
        assert episode.rewards[t] == pytest.approx(observation.reward, abs=1e-4)
        assert episode.missed[t] == observation.missed
    assert (np.stack(driver.frames) == episode.observations["frame"]).all()


def test_the_score_counts_the_warm_up(recorded):
    record, rewards = recorded[1].record, recorded[1].rewards
    assert record.score == pytest.approx(record.warm_up_reward + rewards.sum(), abs=1e-2)


@pytest.mark.parametrize(
    ("end", "terminated", "lap"),
    [
        ({"failed": True}, True, False),
        ({"lap_finished": True}, False, True),
        ({"truncated": True}, False, False),
    ],
)
def test_only_failure_terminates(end, terminated, lap):
    episode = rollout.drive_alone(ShortTrack(3, **end), Scripted(), 7, "scripted")
    assert episode.terminated.tolist() == [False, False, terminated]
    assert episode.truncated.tolist() == [False, False, not terminated]
    assert episode.record.lap_finished == lap
