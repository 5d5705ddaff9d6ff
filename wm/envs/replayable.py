"""A real track that can be copied."""

from typing import Any

import numpy as np

from wm.track.real_track import Observation, RealTrack


class ReplayableTrack(RealTrack):
    """A RealTrack that can be copied and pickled at any moment; original and copy then go on independently.

    Box2D's world cannot be copied, so a copy makes the track of the seed again and repeats all actions so
    far, drawing included: after n steps it costs a reset and n steps, about half a second for a whole drive.
    """

    def __init__(self, action_repeat: int, warm_up_frames: int) -> None:
        super().__init__(action_repeat, warm_up_frames)
        self._seed: int | None = None
        self._actions: list[np.ndarray] = []

    def reset(self, seed: int) -> Observation:
        self._seed, self._actions = seed, []
        return super().reset(seed)

    def step(self, action: np.ndarray) -> Observation:
        observation = super().step(action)
        self._actions.append(action.copy())
        return observation

    @property
    def angular_velocity(self) -> float:
        """Of the car, in radians per second, counterclockwise."""
        return float(self._car.hull.angularVelocity)

    def __reduce__(self) -> tuple[Any, ...]:
        return replayed, (self.action_repeat, self.warm_up_frames, self._seed, self._actions)


def replayed(
    action_repeat: int, warm_up_frames: int, seed: int | None, actions: list[np.ndarray]
) -> ReplayableTrack:
    """A track after the actions, or before its first reset where the seed is None."""
    track = ReplayableTrack(action_repeat, warm_up_frames)
    if seed is not None:
        track.reset(seed)
    for action in actions:
        track.step(action)
    return track
