"""The erratic driver: random actions, held for a while, whatever the frame shows."""

import numpy as np

from wm.track.real_track import Action, Pixels


class Erratic:
    """Holds a random action for 2 to 25 steps; in one episode of four it drives nearly straight ahead."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._steering_std = 0.03 if rng.random() < 0.25 else rng.uniform(0.1, 1.0)
        self._steps_left = 0

    def act(self, pixels: Pixels) -> Action:
        if self._steps_left == 0:
            self._steps_left = int(self._rng.integers(2, 26))
            self._action = self._draw()
        self._steps_left -= 1
        return self._action

    def _draw(self) -> Action:
        rng = self._rng
        steering = np.clip(self._steering_std * rng.standard_normal(), -1, 1)
        braking = rng.random() < 0.2
        gas = rng.random() * (rng.random() < 0.2) if braking else rng.uniform(0.1, 1.0)
        return np.array([steering, gas, rng.random() * braking], np.float32)
