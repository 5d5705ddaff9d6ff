"""The dream: an RNN run on its own samples. Pure functions, batched by their leading axes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from wm.dream.dynamics import Outcome, Rules, without_miracles
from wm.dream.starts import Starts
from wm.dream.unroll import unroll
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.spec import FAILURE_REWARD, FRAME_REWARD, FRAMES_PER_EPISODE, LAP_POINTS

FAR = 2.0  # times as wide as the range of real latents, outside of which a dreamt one has strayed


class Episodes(NamedTuple):
    """Whole dreamt episodes: `score` in points, `frames` as real ones are counted, whether all tiles
    were won, how many were gone past untouched, and the probability of a failure on the way."""

    score: Float[Array, " batch"]
    frames: Int[Array, " batch"]
    lap: Bool[Array, " batch"]
    missed: Float[Array, " batch"]
    failure: Float[Array, " batch"]


def returns(outcome: Outcome) -> Float[Array, "*batch"]:
    """Expected return over the time axis (the first): a failure costs its fine and all that follows."""
    survival = jnp.cumprod(1 - outcome.failure, axis=0)
    before = jnp.concatenate([jnp.ones_like(survival[:1]), survival[:-1]])
    return jnp.sum(survival * outcome.reward + (before - survival) * FAILURE_REWARD, axis=0)


def as_episodes(
    outcome: Outcome,
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    *,
    warm_up_frames: int,
) -> Episodes:
    """Whole dreamt episodes by the rules of real ones.

    `outcome` is (time, batch), from the end of the warm-up to the last frame. As on the real
    track the drive ends when all tiles' points, 1,000, are collected.
    """
    outcome, action_repeat = without_miracles(outcome, rules), rules.action_repeat
    tiles_before = warm_up_reward - FRAME_REWARD * warm_up_frames
    tiles = tiles_before + jnp.cumsum(outcome.reward - FRAME_REWARD * action_repeat, axis=0)
    driving = jnp.concatenate([jnp.ones_like(tiles[:1], bool), tiles[:-1] < LAP_POINTS])
    # never to resume once finished, though a predicted reward may be negative
    driving = jnp.cumprod(driving, axis=0).astype(bool)
    masked = jax.tree.map(lambda part: jnp.where(driving, part, 0), outcome)
    steps = jnp.sum(driving, axis=0)
    frames = jnp.minimum(warm_up_frames + action_repeat * steps, FRAMES_PER_EPISODE)
    return Episodes(
        score=warm_up_reward + returns(masked),
        frames=frames,
        lap=tiles[-1] >= LAP_POINTS,
        missed=jnp.sum(masked.missed, axis=0),
        failure=1 - jnp.prod(1 - masked.failure, axis=0),
    )


@eqx.filter_jit
def whole_episodes(
    simulators: Sequence[RNN],
    watcher: RNN,
    controller: Controller,
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    warm_up_frames: int,
    key: PRNGKeyArray,
) -> Episodes:
    """Whole episodes dreamt from first frames, as long as real ones at most.

    The simulators take the episodes in turn, without dropout masks.
    """
    parts = [
        part
        for part, _ in _parts(
            simulators, watcher, controller, mu, logvar, warm_up_reward, rules, warm_up_frames, key
        )
    ]
    order = np.argsort(np.concatenate([np.arange(len(mu))[i :: len(parts)] for i in range(len(parts))]))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *parts)


def steps_of(frames: Any, warm_up_frames: int, rules: Rules) -> Any:
    """The agent's steps in so many frames, the last one cut short if need be."""
    return -(-(frames - warm_up_frames) // rules.action_repeat)


def _parts(
    simulators: Sequence[RNN],
    watcher: RNN,
    controller: Controller,
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    warm_up_frames: int,
    key: PRNGKeyArray,
    look: Callable[[Array], Any] = lambda z: None,
) -> Iterator[tuple[Episodes, Any]]:
    """Each simulator's share of the episodes, and what `look` makes of their latents, time first."""
    steps = steps_of(FRAMES_PER_EPISODE, warm_up_frames, rules)
    population = jax.tree.map(lambda leaf: leaf[None], controller)
    for i, simulator in enumerate(simulators):
        turn = slice(i, None, len(simulators))
        memories = [model.start(len(mu[turn])) for model in (simulator, watcher)]
        starts = Starts(mu[turn], logvar[turn], *memories)
        dreamt = partial(unroll, steps=steps, rules=rules, dropout=0.0, look=look)
        _, outcome, _, looks = dreamt(simulator, watcher, population, starts, jr.fold_in(key, i))
        part = as_episodes(
            jax.tree.map(lambda leaf: leaf[:, 0], outcome),
            warm_up_reward[turn],
            rules,
            warm_up_frames=warm_up_frames,
        )
        yield part, jax.tree.map(lambda leaf: leaf[:, 0], looks)


class Range(NamedTuple):
    """Where real latents lie, dimension by dimension, widened `FAR` times."""

    low: Float[Array, " latent"]
    high: Float[Array, " latent"]

    @staticmethod
    def of(starts: Starts) -> "Range":
        """Of the moments that dreams go on from, three standard deviations of the encoder's included."""
        spread = 3 * jnp.exp(starts.logvar / 2)
        low, high = (starts.mu - spread).min(axis=0), (starts.mu + spread).max(axis=0)
        return Range(*((low + high) / 2 + sign * FAR * (high - low) / 2 for sign in (-1, 1)))

    def left_by(self, z: Float[Array, "*batch latent"]) -> Bool[Array, "*batch"]:
        """Whether any dimension lies outside, or is no number."""
        return ~jnp.all((z >= self.low) & (z <= self.high), axis=-1)


@eqx.filter_jit
def strays(
    simulators: Sequence[RNN],
    watcher: RNN,
    controller: Controller,
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    warm_up_frames: int,
    key: PRNGKeyArray,
    real: Range,
) -> Float[Array, ""]:
    """The share of the steps of `whole_episodes`, dreamt once more, whose latent lies far outside of the
    range of real ones. What is predicted there, no data has ever taught."""
    found, driven = [], []
    for part, outside in _parts(
        simulators, watcher, controller, mu, logvar, warm_up_reward, rules, warm_up_frames, key, real.left_by
    ):
        driving = jnp.arange(len(outside))[:, None] < steps_of(part.frames, warm_up_frames, rules)
        found.append(jnp.sum(outside & driving))
        driven.append(jnp.sum(driving))
    return jnp.sum(jnp.stack(found)) / jnp.sum(jnp.stack(driven))
