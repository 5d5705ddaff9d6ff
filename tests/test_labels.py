"""Labels of replayed drives against the game itself."""

import math

import numpy as np
import pytest

from wm.spec import Timing
from wm.track import rollout
from wm.track.erratic import Erratic
from wm.track.labels import Recording, curvature_ahead, replayed_labels
from wm.track.real_track import RealTrack

TIMING = Timing(action_repeat=4, warm_up_frames=50)
SEED = 3


@pytest.fixture(scope="module")
def drive():
    return rollout.drive_alone(RealTrack(4, 50), Erratic(np.random.default_rng(SEED)), SEED, "erratic")


@pytest.fixture(scope="module")
def labels(drive):
    return replayed_labels(Recording(SEED, drive.actions), TIMING)


def test_labels_are_those_of_the_state_before_each_action(drive, labels):
    track, speed, on_road = RealTrack(4, 50), [], []
    track.reset(SEED)
    for action in drive.actions:
        speed.append(track.speed)
        on_road.append(track.on_road)
        track.step(action)
    assert np.allclose(labels.speed, speed, atol=1e-4)
    assert np.array_equal(labels.grass < 1, on_road)
    assert set(labels.grass.tolist()) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert (labels.grass > 0).any()
    assert labels.grass[0] == 0


def test_speed_is_the_distance_per_second(drive):
    track = RealTrack(4, 50)
    track.reset(SEED)
    speeds, places = [], []
    for action in drive.actions[:60]:
        speeds.append(track.speed)
        places.append(tuple(track._car.hull.position))
        track.step(action)
    driven = np.hypot(*np.diff(places, axis=0).T) * TIMING.steps_per_second
    assert np.median(np.abs(driven - np.array(speeds)[1:])) < 0.05 * np.median(driven)


def circle(radius, tiles, clockwise=False):
    """A round track as Gymnasium lists it; the heading is that of the way to the next tile."""
    angle = np.linspace(0, 2 * math.pi, tiles, endpoint=False) * (-1 if clockwise else 1)
    return np.stack([angle, angle, radius * np.cos(angle), radius * np.sin(angle)], axis=1)


@pytest.mark.parametrize("clockwise", [False, True])
def test_the_curvature_of_a_circle_is_one_over_its_radius(clockwise):
    found = curvature_ahead(circle(50, 400, clockwise), 20)
    assert found.shape == (400,)
    assert np.allclose(found, 1 / 50, rtol=1e-3)


def test_the_curvature_is_that_of_the_road_ahead_and_not_of_the_road_behind():
    """A straight road with a single turn of 0.5 radians between tiles 30 and 31."""
    x = 3.5 * np.arange(100.0)
    track = np.stack([0 * x, np.where(np.arange(100) > 30, 0.5, 0.0), x, 0 * x], axis=1)
    ahead = curvature_ahead(track, 20)
    assert np.allclose(ahead[11:31], 0.5 / (20 * 3.5))
    assert np.allclose(ahead[[5, 10, 31, 50]], 0)


def test_the_road_of_the_game_bends_within_the_curvature_that_it_draws(labels):
    """Gymnasium turns by at most 0.31 radians per tile of 3.5 units."""
    assert 0 < labels.curvature.mean() < 0.31 / 3.5
    assert labels.curvature.min() >= 0
    assert labels.curvature.max() <= 0.31 / 3.5 + 1e-6
