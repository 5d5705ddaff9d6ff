"""The real track: Gymnasium's pixels, rewards and endings, and what RealTrack adds."""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest
from gymnasium.envs.box2d.car_racing import CarRacing as GymnasiumCarRacing

from wm.spec import FRAMES_PER_EPISODE
from wm.track.real_track import Observation, RealTrack
from wm.track.renderer import CarRacing, shrink

STRAIGHT_ON = np.array([0.0, 0.5, 0.0], np.float32)
OFF_FIELD_SEED = 0  # the track on which driving straight on ends off the playfield


def random_action(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform([-1, 0, 0], [1, 1, 0.3]).astype(np.float32)


def wander(seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while True:
        action = random_action(rng)
        yield from [action] * 8


def forever(*action: float) -> Iterator[np.ndarray]:
    while True:
        yield np.array(action, np.float32)


@pytest.mark.parametrize(
    ("seed", "actions"),
    [
        pytest.param(OFF_FIELD_SEED, forever(*STRAIGHT_ON), id="off the playfield and beyond"),
        pytest.param(1, forever(1, 1, 0), id="spinning on the grass"),
        pytest.param(2, wander(2), id="wander 2"),
        pytest.param(3, wander(3), id="wander 3"),
        pytest.param(4, forever(0.02, 0.3, 0), id="a wide bend"),
    ],
)
def test_pixels_equal_gymnasiums(seed: int, actions: Iterator[np.ndarray]) -> None:
    game = CarRacing()
    game.reset(seed=seed)
    left_field = False
    for frame in range(400):
        game.move(next(actions))
        expected = GymnasiumCarRacing._render(game, "state_pixels")
        np.testing.assert_array_equal(game.draw(), expected, err_msg=f"frame {frame}")
        game.settle()
        left_field |= game.off_field()
    assert left_field or seed != OFF_FIELD_SEED


@pytest.mark.parametrize(
    ("seed", "actions", "ends"),
    [(OFF_FIELD_SEED, forever(*STRAIGHT_ON), True), (7, wander(7), False)],
)
def test_steps_equal_gymnasiums(seed: int, actions: Iterator[np.ndarray], ends: bool) -> None:
    ours, theirs = CarRacing(), gymnasium.make("CarRacing-v3")
    np.testing.assert_array_equal(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
    terminated, frame = False, 0
    while not terminated and frame < (1000 if ends else 150):
        action = next(actions)
        pixels, *outcome = ours.step(action)
        expected_pixels, *expected = theirs.step(action)
        np.testing.assert_array_equal(pixels, expected_pixels, err_msg=f"frame {frame}")
        assert outcome == expected
        terminated, frame = outcome[1], frame + 1
    assert terminated == ends


def test_an_action_sums_the_rewards_of_its_frames() -> None:
    track, theirs = RealTrack(action_repeat=4, warm_up_frames=50), gymnasium.make("CarRacing-v3")
    theirs.reset(seed=11)
    warm_up = np.array([0.0, 0.5, 0.0], np.float32)
    rng = np.random.default_rng(11)
    frames = 0
    for action in [warm_up, *(random_action(rng) for _ in range(15))]:
        observation = track.step(action) if frames else track.reset(11)
        expected, pixels = 0.0, None
        for _ in range(4 if frames else 50):
            pixels, reward, *_ = theirs.step(action)
            expected += float(reward)
            frames += 1
        assert observation.reward == pytest.approx(expected, abs=1e-9)
        assert (observation.frames, observation.over) == (frames, False)
        np.testing.assert_array_equal(observation.pixels, pixels)


def test_the_last_action_ends_with_the_thousandth_frame() -> None:
    track = RealTrack(action_repeat=70, warm_up_frames=50)
    observation = track.reset(1)
    while not observation.over:
        observation = track.step(np.array([0, 0, 1], np.float32))
    assert observation.frames == FRAMES_PER_EPISODE  # 950 is no multiple of 70
    assert (observation.failed, observation.lap_finished, observation.truncated) == (False, False, True)
    with pytest.raises(ValueError, match="over"):
        track.step(np.zeros(3, np.float32))


def test_missed_tiles_are_unvisited_ones_behind_the_furthest_visited_one() -> None:
    track = RealTrack(action_repeat=4, warm_up_frames=50)
    track.reset(7)
    gentle = np.array([0.0, 0.1, 0.0], np.float32)
    assert track.step(gentle).missed == 0
    road: Any = track._game.road
    road[100].road_visited = True
    missed = track.step(gentle).missed
    assert missed == sum(not tile.road_visited for tile in road[:100]) > 50
    road[50].road_visited = True  # collected later
    assert track.step(gentle).missed == 0


def test_speed_heading_and_contact_with_the_road() -> None:
    track = RealTrack(action_repeat=1, warm_up_frames=0)
    track.reset(OFF_FIELD_SEED)
    for _ in range(3):
        track.step(np.zeros(3, np.float32))
    assert track.on_road
    assert track.speed < 1
    straight = track.heading
    for _ in range(60):
        track.step(np.array([1, 0.5, 0], np.float32))
    assert track.heading < straight - 0.1  # to the right is clockwise
    assert track.speed > 10
    for _ in range(300):
        track.step(STRAIGHT_ON)
    assert not track.on_road


def test_leaving_the_playfield_fails() -> None:
    track = RealTrack(action_repeat=4, warm_up_frames=50)
    observation = track.reset(OFF_FIELD_SEED)
    while not observation.over:
        observation = track.step(STRAIGHT_ON)
    assert (observation.failed, observation.lap_finished, observation.truncated) == (True, False, False)
    assert -100.3 - 1e-6 <= observation.reward <= -100


def finish_lap(game: CarRacing) -> None:
    for tile in game.road or []:
        tile.road_visited = True
    game.tile_visited_count = len(game.track)


def leave_field(game: CarRacing) -> None:
    assert game.car is not None
    game.car.hull.position = (400, 0)


@pytest.mark.parametrize(
    ("events", "failed", "lap_finished"),
    [
        ([], False, False),
        ([finish_lap], False, True),
        ([leave_field], True, False),
        ([finish_lap, leave_field], True, False),
    ],
)
def test_a_finished_lap_is_not_a_failure(
    events: list[Callable[[CarRacing], None]], failed: bool, lap_finished: bool
) -> None:
    track = RealTrack(action_repeat=4, warm_up_frames=50)
    track.reset(1)
    for event in events:
        event(track._game)
    observation = track.step(np.zeros(3, np.float32))
    assert (observation.failed, observation.lap_finished, observation.over) == (
        failed,
        lap_finished,
        bool(events),
    )
    assert observation.frames == (51 if events else 54)  # the action ends with the episode


@pytest.mark.parametrize(
    "action",
    [
        np.array([np.nan, 0, 0]),
        np.array([0, np.inf, 0]),
        np.array([-1.01, 0, 0]),
        np.array([0, -0.01, 0]),
        np.array([0, 0, 1.01]),
        np.zeros(2),
        np.zeros((1, 3)),
        np.array(["a", "b", "c"]),
    ],
)
def test_an_action_outside_the_action_space_is_refused(action: np.ndarray) -> None:
    track = RealTrack(action_repeat=1, warm_up_frames=0)
    before = track.reset(1)
    with pytest.raises(ValueError, match=r"RealTrack\.step: action: found .* expected"):
        track.step(action)
    assert track.step(np.zeros(3, np.float32)).frames == before.frames + 1


def drive(track: RealTrack, seed: int, steps: int) -> list[Observation]:
    rng = np.random.default_rng(seed)
    return [track.reset(seed), *(track.step(random_action(rng)) for _ in range(steps))]


def test_an_episode_does_not_depend_on_earlier_ones() -> None:
    used = RealTrack(action_repeat=4, warm_up_frames=50)
    drive(used, 5, 60)
    drive(used, 3, 7)
    for seed in (3, 5):
        fresh = RealTrack(action_repeat=4, warm_up_frames=50)
        for expected, observation in zip(drive(fresh, seed, 60), drive(used, seed, 60), strict=True):
            np.testing.assert_array_equal(observation.pixels, expected.pixels)
            assert observation[1:] == expected[1:]


def test_tracks_driven_in_alternation_do_not_influence_each_other() -> None:
    def driven(seeds: tuple[int, ...]) -> list[list[np.ndarray]]:
        rng = np.random.default_rng(0)
        tracks = [RealTrack(action_repeat=4, warm_up_frames=50) for _ in seeds]
        first = [track.reset(seed).pixels for track, seed in zip(tracks, seeds, strict=True)]
        actions = [random_action(rng) for _ in range(30)]
        return [first, *([track.step(action).pixels for track in tracks] for action in actions)]

    alone = [driven((seed,)) for seed in (3, 5)]
    np.testing.assert_array_equal(driven((3, 5)), np.concatenate(alone, axis=1))


def test_shrink_averages_the_rows_above_the_instruments() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    shrunk = shrink(pixels)
    assert (shrunk.shape, shrunk.dtype) == ((64, 64, 3), np.uint8)
    other = pixels.copy()
    other[84:] = 255 - other[84:]
    np.testing.assert_array_equal(shrink(other), shrunk)
    other[83] = 255 - other[83]
    assert (shrink(other)[-1] != shrunk[-1]).any()
    assert (shrink(other)[:-2] == shrunk[:-2]).all()
    exact = cv2.resize(pixels[:84].astype(np.float64), (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - exact).max() <= 1
