"""CarRacingDream: one dream at a time as a Gymnasium environment."""

from pathlib import Path
from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from wm.envs.options import DreamOptions, check_options, check_reset, playable, start_indices
from wm.envs.plain_spec import PlainSpec
from wm.envs.player import Player
from wm.envs.view import METADATA, load_view
from wm.runtime.places import PUBLISHED
from wm.track.spaces import action_space


class CarRacingDream(gymnasium.Env):
    """One dream at a time.

    An episode starts from the first frame of a real drive, after its warm-up. It ends `terminated` when a
    failure is sampled (reward -100) or the lap is complete, and `truncated` after `horizon_steps`; after a
    lap with a missed tile no step earns a tile. `info` holds the `score` and the `frames` so far, counted as
    on the real track, warm-up included, and `lap_finished`.

    `models` is the folder of an agent or "published", `observation` "latent" or "pixels". Raises BadInput.
    A copy, or a pickled dream, goes on independently of the original and exactly like it.
    """

    metadata = METADATA
    spec = PlainSpec()  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        models: str | Path = PUBLISHED,
        observation: str = "latent",
        render_mode: str | None = None,
        **options: Unpack[DreamOptions],
    ) -> None:
        check_options("CarRacingDream", options, DreamOptions.__annotations__)
        view = load_view(models, observation, render_mode)
        self.player = Player(view, playable(view, **options), 1)
        self.observation_space, self.action_space = view.observation_space, action_space()
        self.metadata, self.render_mode = view.metadata, render_mode
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new dream; the seed determines all of its randomness.

        `options={"start": i}` chooses its start frame, the i-th of starts.npz or of `start_seeds`. Raises
        ValueError for other options.
        """
        chosen = check_reset("CarRacingDream", options, "start").get("start")
        start = start_indices(chosen, 1, self.player.dreams)
        super().reset(seed=seed)
        self._over = False
        observation, info = self.player.begin([self.np_random], np.ones(1, bool), start)
        return observation[0], _scalars(info)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action outside the action space, ResetNeeded if the episode is over."""
        if self._over:
            raise ResetNeeded("CarRacingDream.step: the episode is over; call reset() first")
        result = self.player.step(np.asarray(action)[None], [self.np_random], np.zeros(1, bool))
        (observation,), (reward,), (terminated,), (truncated,), info = result
        self._over = bool(terminated or truncated)
        return observation, float(reward), bool(terminated), bool(truncated), _scalars(info)

    def render(self) -> np.ndarray | None:
        """The dream as a picture."""
        return None if self.render_mode is None else self.player.rendered()[0]


def _scalars(info: dict[str, np.ndarray]) -> dict[str, Any]:
    """The info of a single environment, as Python scalars."""
    return {name: values[0].item() for name, values in info.items()}
