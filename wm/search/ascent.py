"""Gradient ascent of a controller's fitness through short dreams.

M is differentiable, and so is a dream, once its noise is drawn. The gradient of a long dream explodes, so
the dreams of an ascent are shorter than those of CMA-ES, and each dream's gradient is clipped. Source:
backpropagation through a learned model and a value at its horizon (Heess et al. 2015, SVG; Clavera et al.
2020, MAAC).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from wm.dream.starts import Starts
from wm.models.rnn import RNN
from wm.runtime import memory
from wm.search.fitness import Problem, SearchDream, drawn
from wm.search.space import ControllerSpace


@dataclass(frozen=True)
class Ascent:
    """How far a controller follows the gradient: `updates` of Adam, on `dreams` of `horizon_steps` each."""

    updates: int
    dreams: int
    horizon_steps: int
    learning_rate: float  # at first; decays to a hundredth along a cosine
    gradient_clip: float  # norm of a dream's gradient

    def coordinates(
        self, problem: Problem, space: ControllerSpace, start: Float[Array, " coordinate"], key: PRNGKeyArray
    ) -> Iterator[Float[Array, " coordinate"]]:
        """The coordinates after each update, from `start`. Raises TooLarge at the first if the dreams do not
        fit the device's memory."""
        rate = optax.cosine_decay_schedule(self.learning_rate, self.updates, alpha=0.01)
        optimiser = optax.adam(rate)
        (dreams, watcher), update = problem.in_precision, self._program(problem, optimiser)
        here, state = start, optimiser.init(start)
        for number in range(self.updates):
            here, state = update(here, state, dreams, watcher, space, jr.fold_in(key, number))
            yield here

    def _program(self, problem: Problem, optimiser: optax.GradientTransformation) -> Any:
        """The jitted update: (coordinates, optimiser state, dreams, watcher, space, key) -> the first two."""
        short = replace(problem, objective=replace(problem.objective, horizon_steps=self.horizon_steps))

        @memory.checked
        @eqx.filter_jit
        def update(
            here: Array,
            state: optax.OptState,
            dreams: list[SearchDream],
            watcher: RNN,
            space: ControllerSpace,
            key: jax.Array,
        ) -> tuple[Array, optax.OptState]:
            start_key, dream_key = jr.split(key)
            slopes = [
                gradients(short, space, dream, watcher, here, jr.fold_in(dream_key, i))
                for i, dream in enumerate(drawn(dreams, self.dreams, start_key))
            ]
            slope = clipped(jnp.concatenate(slopes), self.gradient_clip).mean(axis=0)
            change, state = optimiser.update(-slope, state)
            return eqx.apply_updates(here, change), state

        return update


def gradients(
    problem: Problem,
    space: ControllerSpace,
    dream: SearchDream,
    watcher: RNN,
    here: Float[Array, " coordinate"],
    key: PRNGKeyArray,
) -> Float[Array, "start coordinate"]:
    """The gradient of what the dream from each start state is worth, with respect to the coordinates."""

    def worth(here: Array, starts: Starts, key: jax.Array) -> Array:
        controller, one = jax.tree.map(lambda leaf: leaf[None], (space.controller(here), starts))
        return problem.worth(dream._replace(starts=one), watcher, controller, key)[0, 0]

    keys = jr.split(key, len(dream.starts.mu))
    return jax.vmap(jax.grad(worth), in_axes=(None, 0, 0))(here, dream.starts, keys)


def clipped(gradients: Float[Array, "dream coordinate"], norm: float) -> Float[Array, "dream coordinate"]:
    """The gradients, each of at most this norm; zero where one is not finite."""
    norms = jnp.linalg.norm(gradients, axis=-1, keepdims=True)
    return jnp.where(jnp.isfinite(norms), gradients * jnp.minimum(1, norm / norms), 0)
