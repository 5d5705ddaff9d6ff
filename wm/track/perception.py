"""Computer vision on a frame: speed, yaw rate, and the centre line of the road ahead.

Lengths are in the simulator's units (the road is 13.3 units wide), speeds in units per second. Right is
positive.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from wm.track.real_track import Pixels

Grid = UInt8[np.ndarray, "42 64"]
Points = Float[np.ndarray, "point 2"]

_SIZE = (64, 42)  # columns and rows of the grid; a cell covers about one unit each way
_CELL = np.array([1.5 / 1.5552, 2 / 1.944])  # units per cell; the frame's scale differs across and along
_CAR = np.array([31.5, 35.5])  # column and row of the car's centre
_CAR_BODY = np.s_[32:39, 30:34]
_WAVE_STEPS = 22
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_COLUMN, _ROW = (axis.ravel().astype(float) for axis in np.meshgrid(*map(np.arange, _SIZE)))


def speed(pixels: Pixels) -> float:
    """Units per second, within 2, from the white bar of the instruments, which has 0.048 pixels per unit.

    Gymnasium draws the bar's border pixels in full, which on average adds 3.75.
    """
    bar = pixels[84:, 12:14, 0].sum(dtype=np.int64)
    return max(float(bar) / (2 * 255 * 0.048) - 3.75, 0.0)


def yaw_rate(pixels: Pixels) -> float:
    """Radians per second to the right, from the red bar of the instruments: 1.92 pixels per radian/s."""
    bar = pixels[87:91, 56:88, 0].sum(axis=0, dtype=np.int64)
    return float(bar[16:].sum() - bar[:16].sum()) / (4 * 255 * 1.92)


class _Masks(NamedTuple):
    road: Grid
    unvisited: Grid


def _masks(pixels: Pixels) -> _Masks:
    """The road, and its unvisited part, of which two tiles in three have a lighter grey."""
    view = cv2.resize(pixels[:84], _SIZE, interpolation=cv2.INTER_AREA)
    red, green = cv2.extractChannel(view, 0), cv2.extractChannel(view, 1)
    no_grass = cv2.inRange(cv2.subtract(green, red), 0, 50)
    road = cv2.bitwise_and(cv2.inRange(red, 88, 255), no_grass)
    road[:, 0] = road[:, -1] = 0  # so that shifts in `_bits` do not move cells into the next row
    road[_CAR_BODY] = 0
    light = cv2.inRange(view, (102, 102, 102), (110, 110, 110))
    return _Masks(road, cv2.bitwise_and(cv2.dilate(light, _DISC), road))


def _connect_car(road: Grid) -> None:
    """Marks the car's cells as road and, if the car is on grass, a line from it to the nearest road."""
    cells = np.flatnonzero(road)
    distance = np.hypot(_COLUMN[cells] - _CAR[0], _ROW[cells] - _CAR[1])
    nearest = cells[distance.argmin()]
    if distance.min() > 4:
        cv2.line(road, (31, 35), (int(_COLUMN[nearest]), int(_ROW[nearest])), (255,), 2)
    road[_CAR_BODY] = 255


def _bits(cells: Grid) -> int:
    """The grid as one integer, a bit per cell. A wave step costs a tenth of OpenCV's dilation this way."""
    return int.from_bytes(np.packbits(cells).tobytes(), "big")


_NOSE = np.zeros(_SIZE[::-1], np.uint8)
_NOSE[34:37, 31:33] = 1
_START = _bits(_NOSE)


def _arrival(road: Grid) -> Int[np.ndarray, " cell"]:
    """The step at which a wave from the car reaches each cell; `_WAVE_STEPS` where it does not.

    The wave advances two cells per step and stays on the road.
    """
    allowed, wave, waves = _bits(road), _START, []
    for _ in range(_WAVE_STEPS):
        waves.append(wave.to_bytes(8 * _SIZE[1], "big"))
        wave = (wave | wave << 1 | wave >> 1 | wave << 64 | wave >> 64) & allowed
        wave |= wave << 1 | wave >> 1
        wave = (wave | wave << 64 | wave >> 64) & allowed
    reached = np.unpackbits(np.frombuffer(b"".join(waves), np.uint8)).reshape(_WAVE_STEPS, -1)
    return _WAVE_STEPS - reached.sum(axis=0, dtype=np.uint8).astype(np.intp)


def centre_line(pixels: Pixels) -> Points:
    """Points (right, ahead) relative to the car along the unvisited road; none where no road is visible.

    A wave spreads from the car along the road, and each point is the centroid of one wave front. So the other
    leg of a hairpin or a neighbouring road is not mistaken for the road ahead.
    """
    road, unvisited = _masks(pixels)
    if not road.any():
        return np.zeros((0, 2))
    _connect_car(road)
    step = _arrival(road)
    reached = step < _WAVE_STEPS
    target = reached & (unvisited.ravel() > 0)
    if np.count_nonzero(target) < 12:
        target = reached & (_ROW < 34)  # all road in front of the car
    cells = np.flatnonzero(target)
    step = step[cells]
    count = np.bincount(step, minlength=_WAVE_STEPS)
    x = np.bincount(step, _COLUMN[cells], _WAVE_STEPS)[count > 0]
    y = np.bincount(step, _ROW[cells], _WAVE_STEPS)[count > 0]
    return (np.stack([x, y], axis=1) / count[count > 0, None] - _CAR) * _CELL * (1, -1)


class Bend(NamedTuple):
    """Curvature of the road ahead by distance, and the total turn in radians."""

    distance: Float[np.ndarray, " point"]
    curvature: Float[np.ndarray, " point"]
    turn: float


def bend(line: Points) -> Bend:
    """The curvature of a centre line, smoothed over about twelve units."""
    if len(line) < 7:
        return Bend(np.zeros(1), np.full(1, 0.03), 0.0)
    x, y = (line[3:] - line[:-3]).T
    cross, dot = x[3:] * y[:-3] - y[3:] * x[:-3], x[3:] * x[:-3] + y[3:] * y[:-3]
    angle = np.arctan2(cross, dot)
    length = np.maximum(np.hypot(x, y) / 3, 0.1)
    distance = np.hypot(*line[0]) + np.cumsum(length)[3:]
    return Bend(distance, angle / (3 * length[3:]), float(angle[::3].sum()))
