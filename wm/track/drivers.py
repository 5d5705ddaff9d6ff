"""Who drives: a lane follower that sees nothing but the frame, and an erratic driver.

Lengths are in the simulator's units (a road is 13.3 wide), speeds in units a second, and signs are
positive to the right.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

Frame = UInt8[np.ndarray, "96 96 3"]
Grid = UInt8[np.ndarray, "42 64"]
Action = Float[np.ndarray, "3"]
Points = Float[np.ndarray, "point 2"]

WHEEL_BASE = 3.24

_SIZE = (64, 42)  # columns and rows of the grid; its cells are about one unit of length each way
_CELL = np.array([1.5 / 1.5552, 2 / 1.944])  # exactly: the frame shows a unit wider than tall
_CAR = np.array([31.5, 35.5])  # column and row of the car's centre
_CAR_BODY = np.s_[32:39, 30:34]
_FRONTS = 22
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_COLUMN, _ROW = (axis.ravel().astype(float) for axis in np.meshgrid(*map(np.arange, _SIZE)))


@runtime_checkable
class Driver(Protocol):
    """Whoever turns frames into actions: steering in [-1, 1], gas and brake in [0, 1], float32."""

    def act(self, pixels: Frame) -> Action: ...


def speed(pixels: Frame) -> float:
    """Units a second, to within 2, off the white bar of the instruments: 0.048 pixels for each.

    Gymnasium draws the bar's outer pixels whole, which makes it look 3.75 too fast on average.
    """
    bar = pixels[84:, 12:14, 0].sum(dtype=np.int64)
    return max(float(bar) / (2 * 255 * 0.048) - 3.75, 0.0)


def yaw_rate(pixels: Frame) -> float:
    """Radians a second to the right, off the red bar of the instruments: 1.92 pixels for each."""
    bar = pixels[87:91, 56:88, 0].sum(axis=0, dtype=np.int64)
    return float(bar[16:].sum() - bar[:16].sum()) / (4 * 255 * 1.92)


class _Masks(NamedTuple):
    road: Grid
    fresh: Grid


def _masks(pixels: Frame) -> _Masks:
    """The road, and what no wheel has touched of it: of that, two tiles in three are lighter."""
    view = cv2.resize(pixels[:84], _SIZE, interpolation=cv2.INTER_AREA)
    red, green = cv2.extractChannel(view, 0), cv2.extractChannel(view, 1)
    no_grass = cv2.inRange(cv2.subtract(green, red), 0, 50)
    road = cv2.bitwise_and(cv2.inRange(red, 88, 255), no_grass)
    road[:, 0] = road[:, -1] = 0  # so that in `_bits` no row runs on into the next
    road[_CAR_BODY] = 0
    fresh = cv2.inRange(view, (102, 102, 102), (110, 110, 110))
    return _Masks(road, cv2.bitwise_and(cv2.dilate(fresh, _DISC), road))


def _bridge(road: Grid) -> None:
    """Lays road under the car and, where that is on grass, from there to the nearest road."""
    cells = np.flatnonzero(road)
    distance = np.hypot(_COLUMN[cells] - _CAR[0], _ROW[cells] - _CAR[1])
    nearest = cells[distance.argmin()]
    if distance.min() > 4:
        cv2.line(road, (31, 35), (int(_COLUMN[nearest]), int(_ROW[nearest])), (255,), 2)
    road[_CAR_BODY] = 255


def _bits(cells: Grid) -> int:
    """The grid as one integer, a bit a cell: a wave's step costs a tenth of OpenCV's dilation."""
    return int.from_bytes(np.packbits(cells).tobytes(), "big")


_NOSE = np.zeros(_SIZE[::-1], np.uint8)
_NOSE[34:37, 31:33] = 1
_START = _bits(_NOSE)


def _arrival(road: Grid) -> Int[np.ndarray, " cell"]:
    """At which step a wave from the car, two cells a step and only within the road, is where."""
    allowed, wave, fronts = _bits(road), _START, []
    for _ in range(_FRONTS):
        fronts.append(wave.to_bytes(8 * _SIZE[1], "big"))
        wave = (wave | wave << 1 | wave >> 1 | wave << 64 | wave >> 64) & allowed
        wave |= wave << 1 | wave >> 1
        wave = (wave | wave << 64 | wave >> 64) & allowed
    reached = np.unpackbits(np.frombuffer(b"".join(fronts), np.uint8)).reshape(_FRONTS, -1)
    return _FRONTS - reached.sum(axis=0, dtype=np.uint8).astype(np.intp)


def centre_line(pixels: Frame) -> Points:
    """Points (right, ahead) of the car along the road that is still to be driven, if any is seen.

    A wave spreads from the car within the road, so that neither the other leg of a hairpin nor a
    neighbouring road is taken for the way on; each point is the middle of a wave front.
    """
    road, fresh = _masks(pixels)
    if not road.any():
        return np.zeros((0, 2))
    _bridge(road)
    front = _arrival(road)
    reached = front < _FRONTS
    wanted = reached & (fresh.ravel() > 0)
    if np.count_nonzero(wanted) < 12:
        wanted = reached & (_ROW < 34)
    cells = np.flatnonzero(wanted)
    front = front[cells]
    count = np.bincount(front, minlength=_FRONTS)
    x = np.bincount(front, _COLUMN[cells], _FRONTS)[count > 0]
    y = np.bincount(front, _ROW[cells], _FRONTS)[count > 0]
    return (np.stack([x, y], axis=1) / count[count > 0, None] - _CAR) * _CELL * (1, -1)


class Bend(NamedTuple):
    """How the road ahead winds: at which distance how much, in all, in radians."""

    distance: Float[np.ndarray, " point"]
    curvature: Float[np.ndarray, " point"]
    turn: float


def bend(line: Points) -> Bend:
    """The curvature of a centre line, smoothed over some twelve units."""
    if len(line) < 7:
        return Bend(np.zeros(1), np.full(1, 0.03), 0.0)
    x, y = (line[3:] - line[:-3]).T
    cross, dot = x[3:] * y[:-3] - y[3:] * x[:-3], x[3:] * x[:-3] + y[3:] * y[:-3]
    angle = np.arctan2(cross, dot)
    length = np.maximum(np.hypot(x, y) / 3, 0.1)
    distance = np.hypot(*line[0]) + np.cumsum(length)[3:]
    return Bend(distance, angle / (3 * length[3:]), float(angle[::3].sum()))


@dataclass(frozen=True)
class LaneStyle:
    """How a lane follower drives; as it stands, the tuned way."""

    gain: float = 1.2  # on the steering angle of the pursuit
    damping: float = 0.04  # steering for every rad/s of yaw that is missing
    look_ahead: float = 10.0  # how far away the point steered at is
    look_ahead_seconds: float = 0.08  # and how much farther at speed
    speed: float = 72.0  # on a straight
    grip: float = 115.0  # sideways acceleration dared in bends, units/s^2: less is slower
    braking: float = 90.0  # deceleration relied upon before bends, units/s^2
    weave: float = 0.0  # how far to wander from the centre line, to and fro
    weave_steps: float = 40.0  # in how many steps
    bang_bang: bool = False  # to steer by full lock or not at all
    noise: float = 0.0  # on steering and pedals, correlated over some six steps
    mistakes: float = 0.0  # probability a step that one is begun

    @staticmethod
    def plain() -> "LaneStyle":
        """The tuned way, without noise or mistakes."""
        return LaneStyle()

    @staticmethod
    def random(rng: np.random.Generator) -> "LaneStyle":
        """Drawn for an episode of collecting: seven in ten have noise and make mistakes."""
        flaws = rng.uniform(0.2, 1.0) * (rng.random() < 0.7)
        reckless = rng.random() < 0.2
        return LaneStyle(
            gain=rng.uniform(0.7, 1.6),
            damping=rng.uniform(0.0, 0.09),
            look_ahead=rng.uniform(6.0, 15.0),
            speed=rng.uniform(80.0, 120.0) if reckless else rng.uniform(40.0, 90.0),
            grip=rng.uniform(150.0, 500.0) if reckless else rng.uniform(60.0, 170.0),
            weave=rng.uniform(1.0, 7.0) * (rng.random() < 0.3),
            weave_steps=rng.uniform(15.0, 60.0),
            bang_bang=bool(rng.random() < 0.15),
            noise=0.5 * flaws * rng.random(),
            mistakes=0.05 * flaws,
        )


def _mistake(turn: float, rng: np.random.Generator) -> list[Action]:
    """What to do in the coming steps instead of the right thing; NaN leaves that as it is.

    Before a sharp bend it is mostly a wrong turn-in: too early, too late, with too much gas.
    """
    keep = np.nan
    side = float(rng.choice([-1, 1]))
    into = float(np.sign(turn)) or side
    gas, brake = rng.random(2)
    some, many = rng.integers(2, 7), rng.integers(8, 26)
    stand = [(keep, 0.0, 0.0)] * int(many * (rng.random() < 0.4))
    bends = [
        [(into, 0.0, 0.5 * brake)] * (some + 2) + stand,
        [(into, gas, 0.0)] * some + stand,
        [(0.0, keep, 0.0)] * some + stand,
        [(into, 1.0, 0.0)] * (some + 2),
    ]
    anywhere = [
        [(side * max(gas, 0.3), brake, 0.0)] * some,
        [(keep, 1.0, 0.0)] * (2 * some),
        [(keep, 0.0, brake)] * some,
        [(keep, 0.0, 1.0)] * many,
        [(side, 0.0, 1.0)] * some + stand,
        [(keep, 0.0, 0.0)] * many,
    ]
    kinds = bends if rng.random() < 0.2 + 0.6 * (abs(turn) > 1.2) else anywhere
    return [np.array(action) for action in kinds[rng.integers(len(kinds))]]


class LaneFollower:
    """Drives by computer vision: pursues a point of the centre line, and slows down for bends.

    A fresh one for every episode; all its chance comes from `rng`. An action lasts `step_seconds`.
    """

    def __init__(self, style: LaneStyle, rng: np.random.Generator, step_seconds: float) -> None:
        self.style, self._step_seconds = style, step_seconds
        self._rng = rng
        self._steps = 0
        self._phase = rng.uniform(0, 2 * np.pi)
        self._drift = np.zeros(2)
        self._goal = np.array([0.0, 20.0])
        self._wrong: list[Action] = []

    def act(self, pixels: Frame) -> Action:
        line, velocity, yaw = centre_line(pixels), speed(pixels), yaw_rate(pixels)
        seen = len(line) > 3  # fronts: fewer get no further than the car itself
        self._goal = line[-1] if seen else self._goal_from_here(velocity, yaw)
        line = line if seen else self._goal[None]
        ahead, arc = bend(line), self._arc(line, velocity)
        steering = self._steering(arc, velocity, yaw)
        # Turning tighter than the wheels can steer is a spin, which gas would only keep up.
        spins = 7 * abs(yaw) > velocity + 10
        pedal = -0.6 if spins else self._pedal(ahead, arc, velocity, steering)
        action = self._flawed(steering, pedal, ahead.turn)
        self._steps += 1
        return np.clip(action, (-1, 0, 0), 1).astype(np.float32)

    def _goal_from_here(self, velocity: float, yaw: float) -> Float[np.ndarray, "2"]:
        """Where by dead reckoning the road is that was last seen; a wide circle once it is missed."""
        x, y = self._goal - (0, velocity * self._step_seconds)
        if np.hypot(x, y) < 5:
            return np.array([10.0, 15.0])
        turned = yaw * self._step_seconds
        sine, cosine = np.sin(turned), np.cos(turned)
        return np.array([x * cosine - y * sine, x * sine + y * cosine])

    def _arc(self, line: Points, velocity: float) -> float:
        """The curvature of the circle that leads to the point steered at."""
        style = self.style
        wanted = style.look_ahead + style.look_ahead_seconds * velocity
        x, y = line[np.abs(np.hypot(*line.T) - wanted).argmin()]
        x += style.weave * np.sin(self._phase + 2 * np.pi * self._steps / style.weave_steps)
        return 2 * x / (x * x + y * y + 1e-6) if y > 0 else np.copysign(0.3, x)

    def _steering(self, arc: float, velocity: float, yaw: float) -> float:
        angle = self.style.gain * np.arctan(WHEEL_BASE * arc)
        angle += self.style.damping * (velocity * arc - yaw)
        return np.sign(angle) * (abs(angle) > 0.15) if self.style.bang_bang else angle

    def _pedal(self, ahead: Bend, arc: float, velocity: float, steering: float) -> float:
        """Gas if positive, brake if negative: towards the speed from which the bends can be met."""
        style = self.style
        room = np.maximum(ahead.distance - 0.06 * velocity, 0)
        bearable = style.grip / np.maximum(np.abs(ahead.curvature), 1e-3)
        allowed = np.sqrt((bearable + 2 * style.braking * room).min())
        excess = velocity - min(style.speed, allowed, np.sqrt(2 * style.grip / max(abs(arc), 1e-3)))
        if excess > 0:
            return -0.04 * max(excess - 2, 0)
        return min(-0.06 * excess, 1) * max(0.2, 1 - abs(steering))

    def _flawed(self, steering: float, pedal: float, turn: float) -> Action:
        """The action with this style's noise and mistakes on it."""
        style, rng = self.style, self._rng
        self._drift = 0.85 * self._drift + 0.53 * style.noise * rng.standard_normal(2)
        steering, pedal = np.array([steering, pedal]) + self._drift
        if not self._wrong and rng.random() < style.mistakes:
            self._wrong = _mistake(turn, rng)
        action = np.array([steering, max(pedal, 0.0), max(-pedal, 0.0)])
        if not self._wrong:
            return action
        wrong = self._wrong.pop(0)
        return np.where(np.isnan(wrong), action, wrong)


class Erratic:
    """Holds random actions for 2 to 25 steps; one episode in four goes nearly straight ahead."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._wildness = 0.03 if rng.random() < 0.25 else rng.uniform(0.1, 1.0)
        self._left = 0

    def act(self, pixels: Frame) -> Action:
        if self._left == 0:
            self._left = int(self._rng.integers(2, 26))
            self._action = self._draw()
        self._left -= 1
        return self._action

    def _draw(self) -> Action:
        rng = self._rng
        steering = np.clip(self._wildness * rng.standard_normal(), -1, 1)
        braking = rng.random() < 0.2
        gas = rng.random() * (rng.random() < 0.2) if braking else rng.uniform(0.1, 1.0)
        return np.array([steering, gas, rng.random() * braking], np.float32)
