import numpy as np
import pytest

from wm.agent import summary
from wm.agent.summary import came_to
from wm.data.episode import Episode, Record
from wm.params.environment import Environment


def test_equal_values_share_the_mean_of_their_ranks():
    """Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: covariance 4.5 of 5 and 4.5."""
    assert summary.rank_correlation([5.0, 5.0, 6.0, 9.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(0.9**0.5)


def test_values_that_do_not_vary_correlate_with_nothing():
    assert summary.rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0


def drive(seed, length, *, lap=False, failed=False, missed=0):
    ends = np.arange(length) == length - 1
    record = Record(0, seed, "a", length, score=100.0 * seed, warm_up_reward=0.0, lap_finished=lap)
    actions, rewards = np.zeros((length, 3), np.float32), np.zeros(length, np.float32)
    return Episode(
        record, {}, actions, rewards, missed * ends.astype(np.int16), ends & failed, ends & ~failed
    )


def test_what_drives_came_to():
    """Laps of 50 + 4 x 200 and 50 + 4 x 210 frames, one drive to the last frame, one off the field."""
    episodes = [
        drive(1, 200, lap=True),
        drive(2, 210, lap=True),
        drive(3, 238, missed=6),
        drive(4, 30, failed=True, missed=1),
    ]
    found = came_to(episodes, Environment(action_repeat=4, warm_up_frames=50))
    assert found["score"]["mean"] == 250
    assert (found["laps"], found["lap_frames"]) == (2, 870)
    assert found["missed"] == 1.75
    assert found["failures"] == 0.25
    assert came_to(episodes[2:], Environment(action_repeat=4, warm_up_frames=50))["lap_frames"] is None
