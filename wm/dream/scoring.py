"""Scores of whole dreamt episodes, and how far their latents stray from real ones."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from wm.dream import dynamics
from wm.dream.dynamics import Dream, Outcome, Rules
from wm.dream.starts import StartFrames, Starts
from wm.dream.unroll import unroll
from wm.models.controller import Controller
from wm.spec import FAILURE_REWARD

WIDENING = 2.0  # a latent strays where it lies outside the range of real latents, widened by this factor


class Episodes(NamedTuple):
    """Whole dreamt episodes: score in points, frames counted as on the real track, whether the lap was
    completed, number of missed tiles, and probability of a failure on the way."""

    score: Float[Array, " batch"]
    frames: Int[Array, " batch"]
    lap: Bool[Array, " batch"]
    missed: Float[Array, " batch"]
    failure: Float[Array, " batch"]


def rows(episodes: Episodes) -> list[dict[str, Any]]:
    """The rows of dream.csv: one for each episode, `score` in points, `failure` a probability."""
    columns = {
        "score": np.round(np.asarray(episodes.score, float), 2),
        "frames": np.asarray(episodes.frames),
        "lap_finished": np.asarray(episodes.lap),
        "missed": np.round(np.asarray(episodes.missed, float), 2),
        "failure": np.round(np.asarray(episodes.failure, float), 4),
    }
    names, values = list(columns), zip(*(column.tolist() for column in columns.values()), strict=True)
    return [{"dream": i} | dict(zip(names, row, strict=True)) for i, row in enumerate(values)]


def returns(outcome: Outcome) -> Float[Array, "*batch"]:
    """Expected return over the time axis (the first): a failure costs 100 points and all later rewards."""
    survival = jnp.cumprod(1 - outcome.failure, axis=0)
    before = jnp.concatenate([jnp.ones_like(survival[:1]), survival[:-1]])
    return jnp.sum(survival * outcome.reward + (before - survival) * FAILURE_REWARD, axis=0)


def as_episodes(
    outcome: Outcome, warm_up_reward: Float[Array, " batch"], rules: Rules, *, warm_up_frames: int
) -> Episodes:
    """Whole episodes of the outcome, (time, batch), which reaches from the end of the warm-up to the last
    frame."""
    start = dynamics.begin(warm_up_reward, warm_up_frames, rules)
    end, counted = dynamics.count_all(start, outcome, rules)
    return Episodes(
        score=warm_up_reward + returns(counted),
        frames=end.frames,
        lap=end.lap,
        missed=jnp.sum(counted.missed, axis=0),
        failure=1 - jnp.prod(1 - counted.failure, axis=0),
    )


@eqx.filter_jit
def whole_episodes(dream: Dream, controller: Controller, starts: StartFrames, key: PRNGKeyArray) -> Episodes:
    """Whole episodes from start frames, in the order of `starts`. The simulators generate them in turn."""
    return _in_order([part for part, _ in _parts(dream, controller, starts, key)])


def _in_order(parts: list[Episodes]) -> Episodes:
    """The simulators' shares of the episodes together, in the order of the start frames."""
    count = sum(len(part.score) for part in parts)
    order = np.argsort(np.concatenate([np.arange(count)[i :: len(parts)] for i in range(len(parts))]))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *parts)


def _parts(
    dream: Dream,
    controller: Controller,
    starts: StartFrames,
    key: PRNGKeyArray,
    observe: Callable[[Array], Any] = lambda z: None,
) -> Iterator[tuple[Episodes, Any]]:
    """Each simulator's share of the episodes, and `observe`'s result for their latents, time first."""
    population = jax.tree.map(lambda leaf: leaf[None], controller)
    for i, simulation, turn in dream.turns(len(starts.mu)):
        mu, logvar, warm_up_reward = (part[turn] for part in starts)
        memories = [model.start(len(mu)) for model in (simulation.simulator, dream.watcher)]
        dreams = unroll(
            simulation,
            population,
            Starts(mu, logvar, *memories),
            jr.fold_in(key, i),
            steps=dream.max_steps,
            observe=observe,
        )
        outcome, observed = jax.tree.map(lambda leaf: leaf[:, 0], (dreams.outcome, dreams.observed))
        frames = dream.warm_up_frames
        yield as_episodes(outcome, warm_up_reward, dream.rules, warm_up_frames=frames), observed


class LatentRange(NamedTuple):
    """The range of real latents in each dimension, widened by the factor `WIDENING`."""

    low: Float[Array, " latent"]
    high: Float[Array, " latent"]

    @staticmethod
    def of(starts: Starts) -> "LatentRange":
        """The range of the start states, three standard deviations of the encoder included."""
        spread = 3 * jnp.exp(starts.logvar / 2)
        low, high = (starts.mu - spread).min(axis=0), (starts.mu + spread).max(axis=0)
        return LatentRange(*((low + high) / 2 + sign * WIDENING * (high - low) / 2 for sign in (-1, 1)))

    def excludes(self, z: Float[Array, "*batch latent"]) -> Bool[Array, "*batch"]:
        """Whether any dimension lies outside the range or is NaN."""
        return ~jnp.all((z >= self.low) & (z <= self.high), axis=-1)


@eqx.filter_jit
def with_strays(
    dream: Dream, controller: Controller, starts: StartFrames, key: PRNGKeyArray, real: LatentRange
) -> tuple[Episodes, Float[Array, ""]]:
    """`whole_episodes`, and the share of their steps whose latent lies outside the range of real ones, where
    M's predictions have no training data."""
    parts, outside, driven = [], [], []
    for part, excluded in _parts(dream, controller, starts, key, real.excludes):
        steps = -(-(part.frames - dream.warm_up_frames) // dream.rules.action_repeat)
        driving = jnp.arange(len(excluded))[:, None] < steps
        parts.append(part)
        outside.append(jnp.sum(excluded & driving))
        driven.append(jnp.sum(driving))
    return _in_order(parts), jnp.sum(jnp.stack(outside)) / jnp.sum(jnp.stack(driven))
