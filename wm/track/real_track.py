"""The real environment: CarRacing-v3 with an action repeat, a warm-up and missed tiles."""

import os
from typing import NamedTuple

import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # pygame prints a greeting on import
from jaxtyping import Float, UInt8

from wm.errors import Halted
from wm.spec import ACTION_HIGH, ACTION_LOW, ACTION_SIZE, FRAMES_PER_EPISODE
from wm.track.renderer import CarRacing

Pixels = UInt8[np.ndarray, "96 96 3"]
Action = Float[np.ndarray, "3"]  # steering, gas, brake

WARM_UP_ACTION = np.array([0.0, 0.5, 0.0], np.float32)


class BadAction(Halted, ValueError):
    """A driver returned an array that is no action."""


class Observation(NamedTuple):
    """The result of an action, or of a reset."""

    pixels: Pixels
    """The whole state, instruments included."""
    reward: float
    """Sum over the action's frames; after a reset, over those of the warm-up."""
    missed: int
    """Newly missed tiles: by how many the action increased the number of unvisited tiles behind the furthest
    visited one. Only another lap can collect them."""
    failed: bool
    """The car left the playfield: the last frame's reward is -100."""
    lap_finished: bool
    """Every tile of the track has been visited."""
    truncated: bool
    """`FRAMES_PER_EPISODE` frames are over."""
    frames: int
    """Frames since the start of the episode, the warm-up included."""

    @property
    def over(self) -> bool:
        return self.failed or self.lap_finished or self.truncated


class RealTrack:
    """One car on one track after another; an action lasts `action_repeat` frames, and the last one is drawn.

    An episode ends when the car leaves the playfield, finishes the lap, or after `FRAMES_PER_EPISODE` frames;
    its last action may therefore be shorter. An episode depends on its seed and actions only, not on earlier
    episodes of the same object.
    """

    def __init__(self, action_repeat: int, warm_up_frames: int) -> None:
        if action_repeat < 1:
            raise ValueError(f"RealTrack: action_repeat: found {action_repeat}, expected at least 1")
        if not 0 <= warm_up_frames < FRAMES_PER_EPISODE:
            expected = f"expected 0 or more and less than {FRAMES_PER_EPISODE}"
            raise ValueError(f"RealTrack: warm_up_frames: found {warm_up_frames}, {expected}")
        self.action_repeat = action_repeat
        self.warm_up_frames = warm_up_frames
        self._game = CarRacing()
        self._frames = 0
        self._missed = 0
        self._over = True

    def reset(self, seed: int) -> Observation:
        """A new track, after the warm-up: straight ahead at half gas while the camera zooms in."""
        self._game.reset(seed=seed)
        self._frames = 0
        self._missed = 0
        self._over = False
        if self.warm_up_frames == 0:
            return Observation(self._game.draw(), 0.0, 0, False, False, False, 0)
        return self._advance(WARM_UP_ACTION, self.warm_up_frames)

    def step(self, action: np.ndarray) -> Observation:
        """The result of holding `action` for `action_repeat` frames.

        Raises BadAction for an array that is no action, ValueError when the episode is over.
        """
        if self._over:
            raise ValueError("RealTrack.step: the episode is over; call reset(seed) first")
        _check(action)
        return self._advance(action, self.action_repeat)

    def close(self) -> None:
        self._game.close()

    @property
    def speed(self) -> float:
        """Length units of the simulator per second; the road is 13.3 units wide."""
        return float(self._car.hull.linearVelocity.length)

    @property
    def heading(self) -> float:
        """Direction of the car in radians, counterclockwise."""
        return float(self._car.hull.angle)

    @property
    def on_road(self) -> bool:
        """Whether any wheel touches a tile."""
        return any(wheel.tiles for wheel in self._car.wheels)

    @property
    def _car(self):
        assert self._game.car is not None, "call reset(seed) first"
        return self._game.car

    def _advance(self, action: np.ndarray, frames: int) -> Observation:
        game, reward = self._game, 0.0
        last = min(self._frames + frames, FRAMES_PER_EPISODE)
        game.move(action)
        self._frames += 1
        while self._frames < last and not (game.all_visited() or game.off_field()):
            reward += game.settle()[0]
            game.move(action)
            self._frames += 1
        pixels = game.draw()  # before `settle`, which changes the displayed score
        last_reward, terminated, info = game.settle()
        missed_before, self._missed = self._missed, game.missed()
        observation = Observation(
            pixels,
            reward=float(reward + last_reward),
            missed=max(self._missed - missed_before, 0),
            failed=terminated and not info["lap_finished"],
            lap_finished=terminated and info["lap_finished"],
            truncated=self._frames >= FRAMES_PER_EPISODE,
            frames=self._frames,
        )
        self._over = observation.over
        return observation


_LOW, _HIGH = np.array(ACTION_LOW), np.array(ACTION_HIGH)


def _check(action: np.ndarray) -> None:
    """Raises BadAction; Gymnasium would accept a NaN."""
    shape, dtype = np.shape(action), getattr(action, "dtype", type(action).__name__)
    if not isinstance(action, np.ndarray) or shape != (ACTION_SIZE,) or action.dtype.kind not in "fiu":
        raise BadAction(
            f"RealTrack.step: action: found shape {shape} and type {dtype},"
            f" expected a float array of shape ({ACTION_SIZE},): steering, gas, brake"
        )
    if not ((action >= _LOW) & (action <= _HIGH)).all():  # false for NaN, too
        raise BadAction(
            f"RealTrack.step: action: found {action.tolist()},"
            " expected steering in [-1, 1], gas and brake in [0, 1]"
        )
