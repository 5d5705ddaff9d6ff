"""CarRacing-v3 drawn to the last bit as Gymnasium draws it, but fast; physics apart from drawing."""

import os
from typing import NamedTuple

import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it greets on import
from jaxtyping import UInt8

from wm.errors import Halted
from wm.spec import FRAMES_PER_EPISODE
from wm.track.renderer import CarRacing

_WARM_UP_ACTION = np.array([0.0, 0.5, 0.0], np.float32)


class BadAction(Halted, ValueError):
    """A driver asks for what no wheel or pedal can do."""


class Observation(NamedTuple):
    """What an action led to."""

    pixels: UInt8[np.ndarray, "96 96 3"]
    """The whole state, instruments included."""
    reward: float
    """Summed over the action's frames; at the start, over the warm-up's."""
    missed: int
    """Tiles that the car went past without touching, so that only another lap can win them: how many more
    are unvisited behind the furthest visited one than before the action."""
    failed: bool
    """The car left the playfield: the last frame's reward is -100."""
    lap_finished: bool
    """Every tile of the track has been visited."""
    truncated: bool
    """`FRAMES_PER_EPISODE` frames are over."""
    frames: int
    """Frames driven so far, the warm-up included."""

    @property
    def over(self) -> bool:
        return self.failed or self.lap_finished or self.truncated


class RealTrack:
    """One car, track after track: an action lasts `action_repeat` frames, the last one drawn.

    An episode ends off the playfield, with the lap, or after `FRAMES_PER_EPISODE` frames, and its
    last action ends with it. A drive depends on its seed and its actions alone, not on what the
    object did before.
    """

    def __init__(self, action_repeat: int, warm_up_frames: int) -> None:
        if action_repeat < 1:
            raise ValueError(f"RealTrack: action_repeat is {action_repeat}; it must be at least 1.")
        if not 0 <= warm_up_frames < FRAMES_PER_EPISODE:
            raise ValueError(
                f"RealTrack: warm_up_frames is {warm_up_frames}; it must lie in [0, {FRAMES_PER_EPISODE})."
            )
        self.action_repeat = action_repeat
        self.warm_up_frames = warm_up_frames
        self._game = CarRacing()
        self._frames = 0
        self._missed = 0
        self._over = True

    def reset(self, seed: int) -> Observation:
        """A new track, after the warm-up: straight on at half gas while the camera zooms in."""
        self._game.reset(seed=seed)
        self._frames = 0
        self._missed = 0
        self._over = False
        if self.warm_up_frames == 0:
            return Observation(self._game.draw(), 0.0, 0, False, False, False, 0)
        return self._drive(_WARM_UP_ACTION, self.warm_up_frames)

    def step(self, action: np.ndarray) -> Observation:
        """Steering in [-1, 1], gas and brake in [0, 1], held for `action_repeat` frames.

        Raises `BadAction` if the action is no such thing, `ValueError` if the episode is over.
        """
        if self._over:
            raise ValueError("RealTrack.step: the episode is over; call reset(seed) first.")
        _check(action)
        return self._drive(action, self.action_repeat)

    def close(self) -> None:
        self._game.close()

    def _drive(self, action: np.ndarray, frames: int) -> Observation:
        game, reward = self._game, 0.0
        last = min(self._frames + frames, FRAMES_PER_EPISODE)
        game.move(action)
        self._frames += 1
        while self._frames < last and not (game.all_visited() or game.off_field()):
            reward += game.settle()[0]
            game.move(action)
            self._frames += 1
        pixels = game.draw()  # before `settle`, which changes the score
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


_LOWEST, _HIGHEST = np.array([-1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0])


def _check(action: np.ndarray) -> None:
    shape, dtype = np.shape(action), getattr(action, "dtype", type(action).__name__)
    if not isinstance(action, np.ndarray) or shape != (3,) or action.dtype.kind not in "fiu":
        raise BadAction(
            f"RealTrack.step: the action has shape {shape} and type {dtype};"
            " a float array of shape (3,) is wanted: steering, gas, brake."
        )
    if not ((action >= _LOWEST) & (action <= _HIGHEST)).all():  # false for NaN, too
        raise BadAction(
            f"RealTrack.step: the action is {action.tolist()};"
            " steering must lie in [-1, 1], gas and brake in [0, 1]."
        )
