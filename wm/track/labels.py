"""What the game knows but no single frame shows: speed, curvature of the road ahead, wheels on grass.

CarRacing is deterministic, so replaying a drive's actions without drawing repeats it, at 2 % of the time.
Lengths are in the simulator's units (the road is 13.3 units wide).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from wm.spec import Timing
from wm.track.real_track import WARM_UP_ACTION
from wm.track.renderer import CarRacing

TILES_AHEAD = 10  # of 3.5 units each: about as much road as a frame shows


class Recording(NamedTuple):
    """A drive from the start of an episode: the track's seed and the actions after the warm-up."""

    seed: int
    actions: Float[np.ndarray, "time 3"]


class Labels(NamedTuple):
    """By step, before its action: speed in units per second, mean curvature of the road ahead in radians per
    unit, share of the four wheels on grass."""

    speed: Float[np.ndarray, " *time"]
    curvature: Float[np.ndarray, " *time"]
    grass: Float[np.ndarray, " *time"]


def replayed_labels(drive: Recording, timing: Timing) -> Labels:
    """The labels of a drive; the drive must not end before its last action."""
    game = CarRacing()
    game.reset(seed=drive.seed)
    curvatures = curvature_ahead(np.array(game.track), TILES_AHEAD)
    centres = np.array(game.track)[:, 2:]
    _advance(game, WARM_UP_ACTION, timing.warm_up_frames)
    rows = []
    for action in drive.actions:
        rows.append(_labels(game, centres, curvatures))
        _advance(game, action, timing.action_repeat)
    game.close()
    return Labels(*np.array(rows, np.float32).T)


def _advance(game: CarRacing, action: np.ndarray, frames: int) -> None:
    for _ in range(frames):
        game.move(action)


def _labels(
    game: CarRacing, centres: Float[np.ndarray, "tile 2"], curvatures: Float[np.ndarray, " tile"]
) -> tuple[float, float, float]:
    assert game.car is not None
    nearest = np.hypot(*(centres - np.array(game.car.hull.position)).T).argmin()
    on_grass = [not wheel.tiles for wheel in game.car.wheels]
    return game.car.hull.linearVelocity.length, float(curvatures[nearest]), float(np.mean(on_grass))


def curvature_ahead(track: Float[np.ndarray, "tile 4"], tiles: int) -> Float[np.ndarray, " tile"]:
    """The mean absolute change of the road's heading over the `tiles` tiles after each one, in radians per
    unit. `track` is Gymnasium's closed list of tiles: angle of the place, heading, x and y."""
    step = np.roll(track, -1, axis=0) - track
    turn = np.abs((step[:, 1] + np.pi) % (2 * np.pi) - np.pi)
    length = np.hypot(step[:, 2], step[:, 3])
    return _sums_ahead(turn, tiles) / _sums_ahead(length, tiles)


def _sums_ahead(values: Float[np.ndarray, " tile"], tiles: int) -> Float[np.ndarray, " tile"]:
    """The sum over `tiles` tiles from each one on, around the closed track."""
    total = np.cumsum(np.concatenate([[0.0], values, np.resize(values, tiles)]))
    return total[tiles : tiles + len(values)] - total[: len(values)]
