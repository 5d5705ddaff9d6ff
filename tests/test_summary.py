import numpy as np
import pytest

from wm.agent import summary
from wm.data.episode import Episode, Record
from wm.spec import Timing


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


def test_drives_are_summarised():
    """Laps of 50 + 4 x 200 and 50 + 4 x 210 frames, a drive to the last frame, and a failure."""
    episodes = [
        drive(1, 200, lap=True),
        drive(2, 210, lap=True),
        drive(3, 238, missed=6),
        drive(4, 30, failed=True, missed=1),
    ]
    driven, timing = summary.driven(episodes), Timing(action_repeat=4, warm_up_frames=50)
    result = summary.of_driven(driven, timing)
    assert result["score"]["mean"] == 250
    assert (result["laps"], result["lap_frames"]) == (2, 870)
    assert result["missed"] == 1.75
    assert result["failures"] == 0.25
    assert result["below_600"] == 4
    assert summary.of_driven(driven[2:], timing)["lap_frames"] is None


def test_drives_below_600_points_are_counted():
    scores = np.array([599.99, 600.0, 930.0])
    none = np.zeros(3)
    assert summary.of_drives(scores, np.full(3, 900), none > 0, none, none)["below_600"] == 1
