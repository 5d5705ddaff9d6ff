"""Adapter from Gymnasium's vector environments to Stable-Baselines3's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv


class GymnasiumVecEnv(VecEnv):
    """A vector environment that resets finished episodes in the same step, as Stable-Baselines3 expects.

    The end of an episode is in `info`: `terminal_observation`, `TimeLimit.truncated`, and `episode` with the
    return "r" and the length "l". Needs an environment with `reset(options={"reset_mask": mask})`. Raises
    ValueError for one that resets by itself.
    """

    def __init__(self, env: VectorEnv) -> None:
        if env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP:
            raise ValueError(f"{env}: found AutoresetMode.SAME_STEP, expected NEXT_STEP")
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._returns, self._lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, int)

    def reset(self) -> np.ndarray:
        self._returns[:], self._lengths[:] = 0, 0
        observations, _ = self.env.reset(seed=self._seeds)  # pyright: ignore[reportArgumentType]
        self._reset_seeds()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observations, rewards, terminations, truncations, _ = self.env.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        over = terminations | truncations
        for i in np.flatnonzero(over).tolist():
            infos[i] = {
                "terminal_observation": observations[i],
                "TimeLimit.truncated": bool(truncations[i]),
                "episode": {"r": float(self._returns[i]), "l": int(self._lengths[i])},
            }
        if over.any():
            self._returns[over], self._lengths[over] = 0, 0
            observations, _ = self.env.reset(options={"reset_mask": over})
        return observations, rewards.astype(np.float32), over, infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name)] * len(self._indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("parallel dreams share their attributes")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> Any:
        raise NotImplementedError("parallel dreams share their methods")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * len(self._indices(indices))

    def _indices(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))
