"""Dreams in progress with NumPy inputs and outputs, for the single and the vector environment."""

import copy
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from gymnasium.error import ResetNeeded
from jaxtyping import Array, Bool, Float, Int

from wm.dream import playing
from wm.dream.playing import Dreams, Running, Setup, StepResult
from wm.envs.view import RENDERED_SIDE, View
from wm.models.vae import VAE
from wm.spec import ACTION_SIZE
from wm.track.spaces import action_space
from wm.viewer.pictures import enlarged

ACTIONS = action_space()

Step = tuple[np.ndarray, Any, Any, Any, dict[str, Any]]


class Player:
    """`count` dreams side by side."""

    def __init__(self, view: View, dreams: Dreams, count: int) -> None:
        self.view, self.dreams, self.count = view, dreams, count
        self.running: Running | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Player":
        """A copy that goes on by itself. It shares the arrays, which JAX never changes."""
        return copy.copy(self)

    def begin(
        self,
        rngs: Sequence[np.random.Generator],
        begins: Bool[np.ndarray, " batch"],
        start: Int[np.ndarray, " batch"] | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Observations and infos after new dreams began where `begins` is set, at random by `rngs`; `start`
        chooses their start frames."""
        setup = self._setup(rngs, begins)
        if start is not None:
            setup = setup._replace(start=jnp.asarray(start, jnp.uint32))
        self.running, observation = _begun(
            self.dreams, self.view.decoder, self.running, jnp.asarray(begins), setup
        )
        return np.array(observation), self._info(np.zeros(self.count, bool))

    def step(
        self,
        actions: np.ndarray,
        rngs: Sequence[np.random.Generator],
        begins: Bool[np.ndarray, " batch"],
    ) -> Step:
        """The result of one step of all dreams, except of those that begin because `begins` is set.

        Raises ValueError for actions outside the action space, ResetNeeded before the first `begin`.
        """
        if self.running is None:
            raise ResetNeeded("CarRacingDream.step: no episode is in progress; call reset() first")
        action = jnp.asarray(checked_actions(actions, self.count))
        setup = self._setup(rngs, begins)
        self.running, result, observation = _stepped(
            self.dreams, self.view.decoder, self.running, action, jnp.asarray(begins), setup
        )
        failed, lap = np.array(result.failed), np.array(result.lap_finished)
        over, late = failed | lap, self.dreams.at_horizon(self.running)
        return np.array(observation), np.array(result.reward, float), over, late & ~over, self._info(lap)

    def rendered(self) -> list[np.ndarray]:
        """The decoded latents."""
        if self.running is None:
            raise ResetNeeded("CarRacingDream.render: no episode is in progress; call reset() first")
        frames = np.asarray(_decoded(self.view.agent.vae, self.running))
        return [enlarged(frame, RENDERED_SIDE) for frame in frames]

    def _setup(self, rngs: Sequence[np.random.Generator], begins: Bool[np.ndarray, " batch"]) -> Setup:
        chosen = np.zeros((self.count, len(Setup._fields)), np.uint32)
        for i in np.flatnonzero(begins).tolist():
            chosen[i] = self.dreams.choose(rngs[i])
        return Setup(*map(jnp.asarray, chosen.T))

    def _info(self, lap: Bool[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        assert self.running is not None
        score, frames = np.array(self.running.score, float), np.array(self.running.progress.frames)
        return {"score": score, "frames": frames, "lap_finished": lap}


@eqx.filter_jit
def _begun(
    dreams: Dreams, decoder: VAE | None, running: Running | None, begins: Array, setup: Setup
) -> tuple[Running, Array]:
    begun = dreams.begin(setup)
    if running is not None:
        begun = playing.where(begins, begun, running)
    return begun, _observation(decoder, begun)


@eqx.filter_jit
def _stepped(
    dreams: Dreams, decoder: VAE | None, running: Running, actions: Array, begins: Array, setup: Setup
) -> tuple[Running, StepResult, Array]:
    after, result = dreams.advance_or_begin(running, actions, begins, setup)
    return after, result, _observation(decoder, after)


def _observation(decoder: VAE | None, running: Running) -> Array:
    if decoder is None:
        return playing.features(running.state.z, running.state.watched)
    return playing.pictures(decoder, running.state.z)


@eqx.filter_jit
def _decoded(decoder: VAE, running: Running) -> Array:
    return playing.pictures(decoder, running.state.z)


def checked_actions(actions: np.ndarray, count: int) -> Float[np.ndarray, "batch 3"]:
    """The actions as float32. Raises ValueError for arrays of another shape or type, for values outside the
    action space, and for NaN."""
    if actions.shape != (count, ACTION_SIZE) or actions.dtype.kind not in "fiu":
        raise ValueError(
            f"CarRacingDream.step: actions: found shape {actions.shape} and type {actions.dtype},"
            f" expected floats of shape ({count}, {ACTION_SIZE}): steering, gas, brake"
        )
    inside = ((actions >= ACTIONS.low) & (actions <= ACTIONS.high)).all(axis=1)  # false for NaN, too
    if not inside.all():
        first = actions[np.argmin(inside)].tolist()
        raise ValueError(
            f"CarRacingDream.step: action: found {first},"
            " expected steering in [-1, 1], gas and brake in [0, 1]"
        )
    return actions.astype(np.float32)
