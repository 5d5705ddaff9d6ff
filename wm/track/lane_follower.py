"""The lane follower: drives by computer vision on the frame, with random flaws for more varied data.

Lengths are in the simulator's units (the road is 13.3 units wide), speeds in units per second. Right is
positive.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from wm.spec import ACTION_HIGH, ACTION_LOW
from wm.track.perception import Bend, Points, bend, centre_line, speed, yaw_rate
from wm.track.real_track import Action, Pixels

WHEEL_BASE = 3.24
MIN_POINTS = 4  # of a centre line; a shorter one does not reach beyond the car itself


@dataclass(frozen=True)
class LaneStyle:
    """How a lane follower drives; the defaults are tuned for a high score."""

    gain: float = 1.2  # factor on the steering angle of the pursuit
    damping: float = 0.04  # steering per rad/s of difference to the desired yaw rate
    look_ahead: float = 10.0  # distance of the target point at standstill
    look_ahead_seconds: float = 0.08  # seconds of driving that are added to it
    speed: float = 72.0  # on a straight
    grip: float = 115.0  # highest lateral acceleration in bends, units/s^2; less is slower
    braking: float = 90.0  # assumed deceleration before bends, units/s^2
    weave: float = 0.0  # amplitude of weaving around the centre line
    weave_steps: float = 40.0  # period of weaving, steps
    bang_bang: bool = False  # steers full left, straight or full right only
    noise: float = 0.0  # of steering and pedals, correlated over about six steps
    mistakes: float = 0.0  # probability per step that a mistake begins

    @staticmethod
    def plain() -> "LaneStyle":
        """The tuned style, without noise or mistakes."""
        return LaneStyle()

    @staticmethod
    def random(rng: np.random.Generator) -> "LaneStyle":
        """A random style for one collected episode; seven in ten have noise and mistakes."""
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
    """The actions of a random mistake, one per step; NaN keeps the correct value.

    Before a sharp bend it is mostly a wrong turn-in: too early, too late, or with too much gas.
    """
    keep = np.nan
    side = float(rng.choice([-1, 1]))
    into = float(np.sign(turn)) or side
    gas, brake = rng.random(2)
    short, long = rng.integers(2, 7), rng.integers(8, 26)  # steps
    coast = [(keep, 0.0, 0.0)] * int(long * (rng.random() < 0.4))
    at_bends = [
        [(into, 0.0, 0.5 * brake)] * (short + 2) + coast,
        [(into, gas, 0.0)] * short + coast,
        [(0.0, keep, 0.0)] * short + coast,
        [(into, 1.0, 0.0)] * (short + 2),
    ]
    anywhere = [
        [(side * max(gas, 0.3), brake, 0.0)] * short,
        [(keep, 1.0, 0.0)] * (2 * short),
        [(keep, 0.0, brake)] * short,
        [(keep, 0.0, 1.0)] * long,
        [(side, 0.0, 1.0)] * short + coast,
        [(keep, 0.0, 0.0)] * long,
    ]
    kinds = at_bends if rng.random() < 0.2 + 0.6 * (abs(turn) > 1.2) else anywhere
    return [np.array(action) for action in kinds[rng.integers(len(kinds))]]


class LaneFollower:
    """Steers towards a point of the centre line (pure pursuit) and slows down for bends.

    For one episode; all randomness comes from `rng`. An action lasts `step_seconds`.
    """

    def __init__(self, style: LaneStyle, rng: np.random.Generator, step_seconds: float) -> None:
        self.style, self._step_seconds = style, step_seconds
        self._rng = rng
        self._steps = 0
        self._weave_phase = rng.uniform(0, 2 * np.pi)
        self._noise = np.zeros(2)
        self._goal = np.array([0.0, 20.0])
        self._mistake: list[Action] = []

    def act(self, pixels: Pixels) -> Action:
        line, velocity, yaw = centre_line(pixels), speed(pixels), yaw_rate(pixels)
        road_visible = len(line) >= MIN_POINTS
        self._goal = line[-1] if road_visible else self._dead_reckoning(velocity, yaw)
        line = line if road_visible else self._goal[None]
        ahead, curvature = bend(line), self._pursuit_curvature(line, velocity)
        steering = self._steering(curvature, velocity, yaw)
        # A yaw rate beyond what the wheels can steer is a spin, and gas would sustain it.
        spins = 7 * abs(yaw) > velocity + 10
        pedal = -0.6 if spins else self._pedal(ahead, curvature, velocity, steering)
        action = self._with_flaws(steering, pedal, ahead.turn)
        self._steps += 1
        return np.clip(action, ACTION_LOW, ACTION_HIGH).astype(np.float32)

    def _dead_reckoning(self, velocity: float, yaw: float) -> Float[np.ndarray, "2"]:
        """The last goal relative to the car's new position; once it is passed, a point on a wide circle."""
        x, y = self._goal - (0, velocity * self._step_seconds)
        if np.hypot(x, y) < 5:
            return np.array([10.0, 15.0])
        turned = yaw * self._step_seconds
        sine, cosine = np.sin(turned), np.cos(turned)
        return np.array([x * cosine - y * sine, x * sine + y * cosine])

    def _pursuit_curvature(self, line: Points, velocity: float) -> float:
        """The curvature of the circle from the car through the target point."""
        style = self.style
        distance = style.look_ahead + style.look_ahead_seconds * velocity
        x, y = line[np.abs(np.hypot(*line.T) - distance).argmin()]
        x += style.weave * np.sin(self._weave_phase + 2 * np.pi * self._steps / style.weave_steps)
        return 2 * x / (x * x + y * y + 1e-6) if y > 0 else np.copysign(0.3, x)

    def _steering(self, curvature: float, velocity: float, yaw: float) -> float:
        angle = self.style.gain * np.arctan(WHEEL_BASE * curvature)
        angle += self.style.damping * (velocity * curvature - yaw)
        return np.sign(angle) * (abs(angle) > 0.15) if self.style.bang_bang else angle

    def _pedal(self, ahead: Bend, curvature: float, velocity: float, steering: float) -> float:
        """Gas if positive, brake if negative: towards a speed from which the car can brake for the bends."""
        style = self.style
        room = np.maximum(ahead.distance - 0.06 * velocity, 0)
        cornering = style.grip / np.maximum(np.abs(ahead.curvature), 1e-3)  # squared speed
        allowed = np.sqrt((cornering + 2 * style.braking * room).min())
        excess = velocity - min(style.speed, allowed, np.sqrt(2 * style.grip / max(abs(curvature), 1e-3)))
        if excess > 0:
            return -0.04 * max(excess - 2, 0)
        return min(-0.06 * excess, 1) * max(0.2, 1 - abs(steering))

    def _with_flaws(self, steering: float, pedal: float, turn: float) -> Action:
        """The action with this style's noise and mistakes."""
        style, rng = self.style, self._rng
        self._noise = 0.85 * self._noise + 0.53 * style.noise * rng.standard_normal(2)
        steering, pedal = np.array([steering, pedal]) + self._noise
        if not self._mistake and rng.random() < style.mistakes:
            self._mistake = _mistake(turn, rng)
        action = np.array([steering, max(pedal, 0.0), max(-pedal, 0.0)])
        if not self._mistake:
            return action
        mistake = self._mistake.pop(0)
        return np.where(np.isnan(mistake), action, mistake)
