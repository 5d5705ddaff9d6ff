"""CarRacingDreams: many dreams side by side as a Gymnasium vector environment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool

from wm.envs.options import (
    DreamOptions,
    check_at_least_one,
    check_options,
    check_reset,
    is_whole,
    limited,
    playable,
    start_indices,
)
from wm.envs.plain_spec import PlainSpec
from wm.envs.player import Player, Step
from wm.envs.view import METADATA, load_view
from wm.runtime.places import PUBLISHED
from wm.track.spaces import action_space

AUTORESET = {"autoreset_mode": AutoresetMode.NEXT_STEP}


class CarRacingDreams(VectorEnv):
    """Many dreams side by side, in one compiled step; otherwise like CarRacingDream.

    The i-th is seeded with seed + i. After the end of an episode the next step resets it, with a reward of 0,
    and ignores its action (`AutoresetMode.NEXT_STEP`). `reset(options={"reset_mask": mask})` resets only the
    dreams of the mask, and `{"start": i}` chooses start frames, one for all dreams or one per dream.
    `max_episode_steps` is a second, optional limit on `horizon_steps`, by the name it has in
    `gymnasium.make_vec`.
    """

    metadata = METADATA | AUTORESET
    spec = PlainSpec()  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        num_envs: int = 1,
        models: str | Path = PUBLISHED,
        observation: str = "latent",
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **options: Unpack[DreamOptions],
    ) -> None:
        check_options("CarRacingDreams", options, [*DreamOptions.__annotations__, "max_episode_steps"])
        check_at_least_one("num_envs", num_envs)
        view = load_view(models, observation, render_mode)
        dreams = limited(playable(view, **options), max_episode_steps)
        self.player = Player(view, dreams, num_envs)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = view.observation_space, action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata, self.render_mode = view.metadata | AUTORESET, render_mode
        generators = [seeding.np_random() for _ in range(num_envs)]
        self._rngs, self._seeded = map(list, zip(*generators, strict=True))
        self._over = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New dreams, all or those of the mask; a seed determines all randomness of its dream."""
        options = check_reset("CarRacingDreams", options, "reset_mask", "start")
        begins = self._mask(options.get("reset_mask"))
        start = start_indices(options.get("start"), self.num_envs, self.player.dreams)
        for i, own in enumerate(self._seeds(seed)):
            if own is not None and begins[i]:
                self._rngs[i], self._seeded[i] = seeding.np_random(own)
        self._over = self._over & ~begins
        observations, info = self.player.begin(self._rngs, begins, start)
        return observations, _masked(info, begins)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The seeds of the dreams, as in Gymnasium's SyncVectorEnv."""
        return tuple(self._seeded)

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The random generators of the dreams."""
        return tuple(self._rngs)

    def step(self, actions: np.ndarray) -> Step:
        """Raises ValueError for actions outside the action space, ResetNeeded before the first `reset`."""
        observations, rewards, terminations, truncations, info = self.player.step(
            actions, self._rngs, self._over
        )
        self._over = terminations | truncations
        return observations, rewards, terminations, truncations, _masked(info, np.ones(self.num_envs, bool))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The dreams as pictures."""
        return None if self.render_mode is None else tuple(self.player.rendered())

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if is_whole(seed):
            return [int(seed) + i for i in range(self.num_envs)]
        if not isinstance(seed, Sequence | np.ndarray) or len(seed) != self.num_envs:
            raise ValueError(
                f"CarRacingDreams.reset: seed: found {seed!r}, expected a whole number,"
                f" or {self.num_envs}, one per dream"
            )
        return [None if own is None else int(own) for own in seed]

    def _mask(self, mask: Any) -> np.ndarray:
        if mask is None or self.player.running is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise ValueError(
                f"CarRacingDreams.reset: reset_mask: found shape {mask.shape} and type {mask.dtype},"
                f" expected bool of shape ({self.num_envs},), at least one of them set"
            )
        return mask.copy()


def _masked(info: dict[str, np.ndarray], mask: Bool[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
    """The infos in the form of Gymnasium's vector environments: each with a mask of the valid entries."""
    return {**info, **{f"_{name}": mask.copy() for name in info}}
