"""Perception and actions of the scripted drivers, on real tracks and on meaningless frames."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm.params import collect
from wm.spec import FPS
from wm.track.drivers import DRIVERS
from wm.track.erratic import Erratic
from wm.track.lane_follower import LaneFollower, LaneStyle
from wm.track.perception import centre_line, speed, yaw_rate
from wm.track.real_track import Observation, RealTrack
from wm.track.rollout import Driver

TRACKS = (31, 32, 33)
ACTION_REPEAT = 4


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def lane_follower(style: LaneStyle, generator: np.random.Generator) -> LaneFollower:
    return LaneFollower(style, generator, step_seconds=ACTION_REPEAT / FPS)


def drive(track: RealTrack, driver: Driver, seed: int) -> Iterator[Observation]:
    observation = track.reset(seed)
    yield observation
    while not observation.over:
        observation = track.step(driver.act(observation.pixels))
        yield observation


@pytest.fixture(scope="module")
def track() -> Iterator[RealTrack]:
    track = RealTrack(action_repeat=ACTION_REPEAT, warm_up_frames=50)
    yield track
    track.close()


@pytest.fixture(scope="module")
def frames(track: RealTrack) -> np.ndarray:
    """Frames of a drive with road and grass, straights and bends."""
    style = LaneStyle(mistakes=0.05, noise=0.2)
    return np.stack([o.pixels for o in drive(track, lane_follower(style, rng(5)), seed=8)])


def mirrored(frame: np.ndarray) -> np.ndarray:
    """The frame flipped left to right, and the bar of the yaw rate mirrored at its zero."""
    mirror = frame.copy()
    mirror[:84] = frame[:84, ::-1]
    mirror[84:, 56:88] = frame[84:, 56:88][:, ::-1]
    return mirror


def actions(driver: Driver, frames: np.ndarray) -> np.ndarray:
    return np.stack([driver.act(frame) for frame in frames])


def test_params_yaml_allows_exactly_the_drivers_that_exist() -> None:
    assert tuple(DRIVERS) == collect.DRIVERS


def test_plain_lane_follower_laps(track: RealTrack) -> None:
    scores = [
        sum(o.reward for o in drive(track, lane_follower(LaneStyle.plain(), rng(0)), seed)) for seed in TRACKS
    ]
    assert np.mean(scores) > 850


def test_flaws_cost_points_but_no_drive_leaves_the_playfield(track: RealTrack) -> None:
    style = LaneStyle(noise=0.4, mistakes=0.05)
    drives = [list(drive(track, lane_follower(style, rng(seed)), seed)) for seed in TRACKS]
    scores = [sum(o.reward for o in observations) for observations in drives]
    assert 0 < np.mean(scores) < 850
    assert not any(observations[-1].failed for observations in drives)


def test_speed_and_yaw_rate_agree_with_box2d(track: RealTrack) -> None:
    driver = lane_follower(LaneStyle(mistakes=0.1), rng(1))
    read, true = [], []
    for observation in drive(track, driver, seed=77):
        car = track._game.car
        assert car is not None
        read.append((speed(observation.pixels), yaw_rate(observation.pixels)))
        true.append((np.hypot(*car.hull.linearVelocity), -car.hull.angularVelocity))
    error = np.abs(np.array(read) - true)
    assert error[:, 0].max() < 3
    assert error[:, 1].max() < 0.3
    assert np.ptp(np.array(true)[:, 0]) > 40


def test_centre_line_of_the_start_is_straight_ahead(track: RealTrack) -> None:
    line = centre_line(track.reset(TRACKS[0]).pixels)
    near = line[np.hypot(*line.T) < 15]
    assert np.abs(near[:, 0]).max() < 2.5
    assert (np.diff(near[:, 1]) > 0).all()


def test_centre_line_lies_on_the_road(frames: np.ndarray) -> None:
    """Nearly always: in a bend the centroid of a wave front can lie slightly beside the road."""
    on_road = []
    for frame in frames:
        right, ahead = centre_line(frame).T
        column = (48 + right * 1.5552).astype(int).clip(0, 95)
        row = (72 - ahead * 1.944).astype(int).clip(0, 83)
        red, green = frame[row, column, 0].astype(int), frame[row, column, 1].astype(int)
        on_road.append((green - red < 50)[np.hypot(right, ahead) > 6])
    assert np.concatenate(on_road).mean() > 0.9


def test_mirrored_frames_give_mirrored_steering(frames: np.ndarray) -> None:
    plain = LaneStyle.plain()
    straight = actions(lane_follower(plain, rng(0)), frames)
    mirror = actions(lane_follower(plain, rng(0)), np.stack([mirrored(f) for f in frames]))
    difference = np.abs(mirror * (-1, 1, 1) - straight)
    assert np.abs(straight[:, 0]).max() > 0.3
    assert np.median(difference[:, 0]) < 0.02
    assert (difference[:, 0] < 0.1).mean() > 0.9


@pytest.mark.parametrize("kind", ["random", "mistaken", "erratic"])
def test_all_randomness_comes_from_the_generator(kind: str, frames: np.ndarray) -> None:
    def driver(seed: int) -> Driver:
        generator = rng(seed)
        match kind:
            case "random":
                return lane_follower(LaneStyle.random(generator), generator)
            case "mistaken":
                return lane_follower(LaneStyle(noise=0.3, mistakes=0.1), generator)
        return Erratic(generator)

    np.testing.assert_array_equal(actions(driver(4), frames), actions(driver(4), frames))
    assert (actions(driver(4), frames) != actions(driver(5), frames)).any()


def test_the_plain_lane_follower_is_deterministic(frames: np.ndarray) -> None:
    first, second = (lane_follower(LaneStyle.plain(), rng(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(actions(first, frames), actions(second, frames))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 128, 255, "noise", "grass"]))
def test_actions_are_within_bounds_for_any_frame(seed: int, fill: int | str) -> None:
    generator = rng(seed)
    frame = generator.integers(0, 256, (96, 96, 3)).astype(np.uint8)
    if fill == "grass":
        frame[:] = (102, 204, 102)
    elif fill != "noise":
        frame[:] = fill
    for driver in (lane_follower(LaneStyle.random(generator), generator), Erratic(generator)):
        driven = actions(driver, np.stack([frame] * 20))
        assert driven.shape == (20, 3)
        assert driven.dtype == np.float32
        assert np.isfinite(driven).all()
        assert (driven >= (-1, 0, 0)).all()
        assert (driven <= 1).all()


def test_random_lane_followers_cover_the_range_of_actions(frames: np.ndarray) -> None:
    def driver(seed: int) -> Driver:
        generator = rng(seed)
        return lane_follower(LaneStyle.random(generator), generator)

    driven = np.concatenate([actions(driver(seed), frames[::5]) for seed in range(30)])
    for part, low in zip(driven.T, (-1, 0, 0), strict=True):
        share = np.histogram(part, bins=5, range=(low, 1))[0] / len(part)
        assert share.min() > 0.003


def test_seven_styles_in_ten_have_flaws() -> None:
    styles = [LaneStyle.random(rng(seed)) for seed in range(400)]
    assert 0.62 < np.mean([style.mistakes > 0 for style in styles]) < 0.78
    assert all((style.noise > 0) == (style.mistakes > 0) for style in styles)


def test_erratic_holds_actions_for_random_times() -> None:
    blank = np.zeros((96, 96, 3), np.uint8)
    held = actions(Erratic(rng(0)), np.stack([blank] * 5000))
    changes = np.flatnonzero((np.diff(held, axis=0) != 0).any(axis=1))
    times = np.diff(changes)
    assert times.min() == 2
    assert times.max() == 25
    assert 11 < times.mean() < 16
    assert held[:, 1].mean() > 2 * held[:, 2].mean()
