"""What becomes of a raw drive: it ends with its first lap, and misses tiles when the car leaves the road."""

import numpy as np
import pytest

from bench.second_lap import second_laps
from wm.data.episode import Episode, Record
from wm.data.processing import first_lap, missed_when_leaving
from wm.data.shards import Shards
from wm.spec import Timing

TIMING = Timing(action_repeat=2, warm_up_frames=50)
TILES = 100  # of 10 points each; the warm-up visits ten


def drive(tiles, missed=()):
    """A drive that visits so many tiles in each step; `missed` maps steps to tiles missed there."""
    rewards = np.array([10.0 * count - 0.2 for count in tiles], np.float32)
    jumps = np.zeros(len(tiles), np.int16)
    for step, count in dict(missed).items():
        jumps[step] = count
    length, none = len(tiles), np.zeros(len(tiles), bool)
    record = Record(0, 0, "r0", length, 0.0, 10 * 10.0 - 0.1 * 50, False)
    frames = np.arange(length, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 64, 64, 3), np.uint8)
    return Episode(record, {"frame": frames}, np.zeros((length, 3), np.float32), rewards, jumps, none, none)


@pytest.mark.parametrize(
    ("tiles", "missed", "length"),
    [
        ([1] * 90, {}, 90),  # a lap
        ([1] * 50 + [0] * 40, {}, 90),  # lost on the way
        ([1] * 40 + [0] * 5 + [1] * 45 + [0] * 60, {44: 5}, 90),  # the lap ends without five tiles
        ([1] * 85 + [0] * 20, {84: 4}, 105),  # the last tile is still ahead
        ([1] * 40 + [2, 0] * 20 + [1] * 5 + [0] * 9, {44: 5}, 85),  # several tiles in a step
        ([1] * 30 + [0] * 9 + [1] * 20, {38: 60}, 39),  # backwards over the start, then on unvisited road
        ([0] * 30, {}, 30),
    ],
)
def test_a_drive_ends_with_its_last_tile_visited_or_missed(tiles, missed, length):
    whole = drive(tiles, missed)
    cut = first_lap(whole, TIMING)
    assert cut.record.length == length
    for rows in (
        *cut.observations.values(),
        cut.actions,
        cut.rewards,
        cut.missed,
        cut.terminated,
        cut.truncated,
    ):
        assert len(rows) == length
    assert np.array_equal(cut.observations["frame"], whole.observations["frame"][:length])
    assert np.array_equal(cut.rewards, whole.rewards[:length])
    assert cut.record.score == whole.record.score


@pytest.mark.parametrize(
    ("tiles", "missed", "counted"),
    [
        ([1] * 40 + [0] * 15 + [1] * 20, {55: 5}, {49: 5}),  # off the road for 15 steps
        ([1] * 40 + [0] * 5 + [1] * 45, {45: 2}, {45: 2}),  # too short to have left it
        ([1] * 30 + [0] * 20 + [1] * 9 + [0] * 12 + [1] * 4, {50: 3, 71: 8}, {39: 3, 68: 8}),  # twice
        ([1] * 40 + [0] * 15 + [1], {52: 1, 55: 4}, {49: 5}),  # missed in two steps of one absence
        ([1] * 50 + [0] * 40, {}, {59: 1}),  # left for good
        ([1] * 50 + [0] * 9, {}, {}),  # the drive may have ended on the road
        ([0] * 30, {}, {10: 1}),
        ([0] * 5, {}, {}),
    ],
)
def test_tiles_are_missed_when_the_car_leaves_the_road(tiles, missed, counted):
    whole = drive(tiles, missed)
    moved = missed_when_leaving(whole, TIMING)
    assert {int(step): int(moved.missed[step]) for step in np.flatnonzero(moved.missed)} == counted
    assert moved.missed.dtype == whole.missed.dtype
    assert moved.rewards is whole.rewards


def test_a_failure_is_no_tile():
    whole = drive([1] * 20 + [0])
    whole.rewards[-1] = -100.2
    assert first_lap(whole, TIMING).record.length == 21


class Drives(Shards):
    """A lap, a lap without five tiles and sixty steps after it."""

    def __init__(self):
        self.drives = [drive([1] * 90), drive([1] * 40 + [0] * 5 + [1] * 45 + [0] * 60, {44: 5})]
        self.records = [each.record for each in self.drives]

    def read(self, record):
        return next(each for each in self.drives if each.record is record)


def test_second_laps_are_the_steps_after_first_laps():
    assert second_laps(Drives(), TIMING) == (2, 1, f"{100 * 60 / 240:.1f}")
