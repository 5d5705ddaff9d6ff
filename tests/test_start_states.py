"""Where dreams start: off-track events of real drives, and the drives that are drawn."""

import numpy as np
import pytest

from wm.data.episode import Episode, Record
from wm.data.shards import Shards
from wm.search.real_drives import DriveSample
from wm.search.start_states import StartMoments

IDLE = -0.4


class Drives(Shards):
    """Twenty drives, of which the last `eventful` have an off-track event."""

    def __init__(self, eventful=2):
        self.records = [Record(i, i, "r0", 60, 0.0, 0.0, False) for i in range(20)]
        self.eventful = self.records[20 - eventful :]

    def kept(self, *, validation):
        return self.records

    def read(self, record):
        rewards = np.full(60, 3.0)
        rewards[30:] = IDLE if record in self.eventful else 3.0
        logvar = np.full((60, 2), [0.0, -2.0 if record.episode % 2 else -4.0], np.float32)
        actions, steps = np.zeros((60, 3), np.float32), np.zeros(60, bool)
        return Episode(record, {"logvar": logvar}, actions, rewards, steps, steps, steps)


def moments(action_repeat=4, off_track=0.0, eventful=2, count=64, lead=(12, 100)):
    drives = DriveSample(Drives(eventful), ["r0"], newest_share=0.4, count=count, seed=1)
    return StartMoments(drives, per_drive=400, off_track=off_track, lead=lead, action_repeat=action_repeat)


def test_an_off_track_event_begins_where_a_drive_visits_no_tile_for_forty_frames():
    drive = np.full(60, 3.0)
    drive[20:35] = drive[50:] = IDLE  # the last ten steps count, too
    drive[40:45] = IDLE  # too short
    assert moments(4).off_track_events(drive).tolist() == [20, 50]
    assert moments(3).off_track_events(drive).tolist() == [20]  # 13 steps: the last ten are too few
    assert moments(100).off_track_events(drive).tolist() == [20, 40, 50]
    assert len(moments(4).off_track_events(np.full(40, IDLE))) == 0
    assert len(moments(4).off_track_events(drive[:5])) == 0


def test_dreams_start_anywhere_or_around_an_off_track_event():
    drive = np.full(200, 3.0)
    drive[100:] = IDLE
    times = moments().anywhere(drive, np.random.default_rng(0))
    assert times.min() < 20
    assert times.max() > 180
    times = moments(4).around_off_track(drive, np.random.default_rng(0))
    assert (times.min(), times.max()) == (76, 97)
    times = moments(3).around_off_track(drive, np.random.default_rng(0))
    assert (times.min(), times.max()) == (68, 96)
    early = np.array([3.0] * 5 + [IDLE] * 30)
    assert moments(4).around_off_track(early, np.random.default_rng(0)).min() == 0
    times = moments(4, lead=(-40, 100)).around_off_track(drive, np.random.default_rng(0))
    assert (times.min(), times.max()) == (76, 110)
    times = moments(4, lead=(-400, 0)).around_off_track(drive, np.random.default_rng(0))
    assert (times.min(), times.max()) == (101, 199)  # not after the drive's last step
    assert set(moments(4, lead=(0, 1)).around_off_track(drive, np.random.default_rng(0))) == {100}


@pytest.mark.parametrize(("share", "from_all"), [(0.0, 64), (0.25, 48), (1.0, 0)])
def test_a_share_of_the_dreams_starts_in_drives_with_off_track_events(share, from_all):
    chosen = moments(off_track=share)
    drawn, count = chosen.draw()
    assert (len(drawn), count) == (64, from_all)
    assert all(record in Drives().eventful for record in drawn[from_all:])
    assert from_all == 0 or len(set(map(str, drawn[:from_all]))) > 10


def test_without_off_track_events_dreams_start_anywhere():
    drawn, from_all = moments(off_track=1.0, eventful=0).draw()
    assert len(drawn) == from_all == 64


def test_the_encoders_variance_is_the_mean_over_training_drives():
    first, second = moments(count=2000).drives.encoder_variance()
    assert first == 1.0
    assert second == pytest.approx((np.exp(-2) + np.exp(-4)) / 2, abs=0.005)


def test_all_drawn_drives_reach_the_dreams():
    """Fifty drives fill one batch of 32: eighteen are left out, and the share of off-track starts stays."""
    drawn, from_all = moments(off_track=0.5, count=50).draw()
    assert (len(drawn), from_all) == (32, 16)
