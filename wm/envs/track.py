"""RealCarRacing: the real track as a Gymnasium environment with the observations of the dream."""

from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.error import ResetNeeded

from wm.dream import playing
from wm.envs.options import check_options, check_reset
from wm.envs.plain_spec import PlainSpec
from wm.envs.replayable import ReplayableTrack
from wm.envs.view import METADATA, RENDERED_SIDE, load_view
from wm.models import rnn, vae
from wm.runtime.places import PUBLISHED
from wm.track.real_track import Observation
from wm.track.renderer import shrink
from wm.track.spaces import action_space
from wm.viewer.pictures import enlarged


class RealCarRacing(gymnasium.Env):
    """The real track with the observations of the dream, so that a policy drives in both without changes.

    `reset(seed=s)` is the track of seed s, after the warm-up; without a seed the track is random. The latent
    is the encoder's mean, as for any driving agent. `models` and `info` are those of CarRacingDream; `info`
    also has the car's `speed`, in units of length per second (the road is 13.3 wide), and
    `angular_velocity`, in radians per second. `action_repeat` and `warm_up_frames` replace the agent's,
    which its RNN expects. Copies and pickles: see ReplayableTrack. Raises BadInput.
    """

    metadata = METADATA
    spec = PlainSpec()  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        models: str | Path = PUBLISHED,
        observation: str = "latent",
        render_mode: str | None = None,
        action_repeat: int | None = None,
        warm_up_frames: int | None = None,
        **unknown: object,
    ) -> None:
        check_options("RealCarRacing", unknown, ["action_repeat", "warm_up_frames"])
        view = load_view(models, observation, render_mode)
        self._view = view = view.timed(action_repeat, warm_up_frames)
        self._track = ReplayableTrack(view.timing.action_repeat, view.timing.warm_up_frames)
        self.observation_space, self.action_space = view.observation_space, action_space()
        self.metadata, self.render_mode = view.metadata, render_mode
        self._frame: np.ndarray | None = None
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new track. Raises ValueError for any option: the seed alone chooses the track."""
        check_reset("RealCarRacing", options)
        super().reset(seed=seed)
        self._over = False
        track = int(self.np_random.integers(2**31)) if seed is None else seed
        self._memory, self._score = self._view.agent.rnn.start(1), 0.0
        return self._observe(self._track.reset(track))

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action outside the action space, ResetNeeded if the episode is over."""
        if self._over:
            raise ResetNeeded("RealCarRacing.step: the episode is over; call reset() first")
        observation = self._track.step(np.asarray(action))
        taken = jnp.asarray(action, jnp.float32)[None]
        self._memory = _rnn_step(self._view.agent.rnn, self._z, taken, self._memory)
        features, info = self._observe(observation)
        terminated = observation.failed or observation.lap_finished
        self._over = terminated or observation.truncated
        return features, observation.reward, terminated, observation.truncated and not terminated, info

    def render(self) -> np.ndarray | None:
        """The frame that the agent observes."""
        if self._frame is None:
            raise ResetNeeded("RealCarRacing.render: no episode is in progress; call reset() first")
        return None if self.render_mode is None else enlarged(self._frame, RENDERED_SIDE)

    def close(self) -> None:
        self._track.close()

    def _observe(self, observation: Observation) -> tuple[np.ndarray, dict[str, Any]]:
        self._frame = frame = shrink(observation.pixels)
        self._z, _ = vae.encode(self._view.agent.vae, jnp.asarray(frame)[None])
        self._score += observation.reward
        info = {
            "score": self._score,
            "frames": observation.frames,
            "lap_finished": observation.lap_finished,
            "speed": self._track.speed,
            "angular_velocity": self._track.angular_velocity,
        }
        if self._view.pixels:
            return frame, info
        return np.array(_features(self._z, self._memory)[0]), info


_rnn_step = eqx.filter_jit(rnn.step)
_features = jax.jit(playing.features)
