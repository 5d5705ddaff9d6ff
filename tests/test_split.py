from wm.agent.exploration import exploration
from wm.data.episode import Record
from wm.data.split import marked, validation_tracks
from wm.params.collect import DRIVERS
from wm.track import drivers


def record(seed, score):
    return Record(seed, seed, "erratic", 5, score=score, warm_up_reward=0.0, lap_finished=False)


def test_the_split_takes_a_share_of_the_tracks_and_at_least_one():
    records = [record(seed, 0.0) for seed in (*range(20), *range(20))]
    tracks = validation_tracks(records, 0.25, 1)
    assert len(tracks) == 5
    assert tracks <= set(range(20))
    assert tracks == validation_tracks(records[::-1], 0.25, 1)
    assert tracks != validation_tracks(records, 0.25, 2)
    assert len(validation_tracks(records, 0.001, 1)) == 1


def test_drives_above_the_least_score_are_kept_and_those_on_validation_tracks_marked():
    found = marked([record(1, 5.0), record(2, 5.1), record(1, 6.0)], 5.0, {1})
    assert [(one.kept, one.validation) for one in found] == [(False, True), (True, False), (True, True)]


def test_an_agent_explores_by_itself_with_noise_and_by_its_snapshots():
    drives = exploration(70, 6, 0.25)
    assert [drive.seed for drive in drives] == [70, 71, 72, 73, 74, 75]
    assert [drive.action_noise for drive in drives] == [0, 0.25, 0, 0, 0.25, 0]
    assert [drive.snapshot for drive in drives] == [None, None, 2 / 6, None, None, 5 / 6]


def test_every_driver_of_params_yaml_has_a_class():
    assert set(DRIVERS) == set(drivers.DRIVERS)
