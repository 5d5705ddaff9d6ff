"""The fitness of controllers: the returns of their dreams and the terminal value of their last states."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from wm.dream import scoring
from wm.dream.dynamics import Dream, Rules, Simulation, apply_stuck_rule
from wm.dream.starts import Starts
from wm.dream.unroll import unroll
from wm.models import rnn
from wm.models.rnn import RNN
from wm.models.value import Value
from wm.runtime import devices, memory
from wm.search.payoff import Payoff
from wm.search.space import ControllerSpace
from wm.search.start_states import StartMoments, start_states


class SearchDream(NamedTuple):
    """A simulator, the start states of its dreams, and the terminal value of its hidden states."""

    simulator: RNN
    starts: Starts
    value: Value


@dataclass(frozen=True)
class Objective:
    """How the fitness of a generation is computed from dreams."""

    payoff: Payoff
    rollouts: int  # dreams per candidate
    horizon_steps: int  # of each dream
    cvar_level: float  # share of the dreams, the worst ones, that count; 1: all
    dropout: float  # rate, of the simulators
    precision: str  # of the matrix products


@dataclass(frozen=True)
class Problem:
    """What controllers are searched for: high fitness in these dreams, under these rules."""

    dreams: Sequence[SearchDream]
    watcher: RNN
    rules: Rules
    objective: Objective


@dataclass(frozen=True)
class Goal:
    """What the searches of a round have in common of their problems: all but the moments that dreams start
    from."""

    dream: Dream
    values: Sequence[Value]  # the terminal value of each simulator
    objective: Objective

    def problem(self, moments: StartMoments, key: PRNGKeyArray) -> Problem:
        """The problem with dreams from these moments, which are the same for all simulators."""
        dreams = [
            SearchDream(simulation.simulator, start_states(simulation, moments, key), value)
            for simulation, value in zip(self.dream.simulations, self.values, strict=True)
        ]
        return Problem(dreams, self.dream.watcher, self.dream.rules, self.objective)


def dream_fitness(
    problem: Problem, space: ControllerSpace, key: PRNGKeyArray
) -> Callable[[int, Float[np.ndarray, "population coordinate"]], Float[np.ndarray, " population"]]:
    """The function that computes the fitness of a generation's candidates, in one jitted call.

    The simulators generate the dreams in turn. All candidates meet the same start states and noise. The first
    call raises TooLarge if it does not fit the device's memory.
    """
    in_precision = partial(rnn.in_precision, precision=problem.objective.precision)
    dreams = [dream._replace(simulator=in_precision(dream.simulator)) for dream in problem.dreams]
    watcher, evaluated = in_precision(problem.watcher), dream_program(problem)

    def fitness(generation: int, candidates: np.ndarray) -> np.ndarray:
        vectors = devices.split(jnp.asarray(candidates, jnp.float32))
        return devices.whole(evaluated(dreams, watcher, space, vectors, jr.fold_in(key, generation)))

    return fitness


def dream_program(problem: Problem) -> Callable[..., Any]:
    """The jitted fitness of candidates: (dreams, watcher, space, candidates, key) -> (population)."""
    objective, rules = problem.objective, problem.rules

    @memory.checked
    @eqx.filter_jit
    def evaluated(
        dreams: list[SearchDream],
        watcher: RNN,
        space: ControllerSpace,
        candidates: jax.Array,
        key: jax.Array,
    ) -> jax.Array:
        start_key, dream_key = jr.split(key)
        pool = len(dreams[0].starts.mu)
        chosen = jr.choice(start_key, pool, (objective.rollouts,), replace=False)
        population, worth = jax.vmap(space.controller)(candidates), []
        for i, dream in enumerate(dreams):
            turn = chosen[i :: len(dreams)]
            starts = jax.tree.map(lambda leaf, turn=turn: leaf[turn], dream.starts)
            noise_key = jr.fold_in(dream_key, i)
            simulation = Simulation(dream.simulator, watcher, rules, objective.dropout)
            dreamt = unroll(simulation, population, starts, noise_key, steps=objective.horizon_steps)
            outcome = apply_stuck_rule(dreamt.outcome, rules)
            outcome = objective.payoff.within_lap(outcome, objective.horizon_steps)
            missed = objective.payoff.of_missed(outcome.missed.sum(axis=0))
            worth.append(scoring.returns(outcome) - missed + dream.value(dreamt.end.memory.hidden))
        return conditional_value_at_risk(jnp.concatenate(worth, axis=-1), objective.cvar_level)

    return evaluated


def conditional_value_at_risk(
    worth: Float[Array, "population start"], level: float
) -> Float[Array, " population"]:
    """The mean of the worst dreams of each candidate, a share `level` of all (CVaR; Rockafellar and Uryasev
    2000). Not finite for a candidate one of whose dreams is not.

    The worst are those that fall furthest short of the population's mean from the same start state, so that a
    hard start state makes no dream a bad one. Returned is the mean over all dreams plus the mean of the
    differences of the worst ones.
    """
    if level == 1:
        return worth.mean(axis=-1)
    finite = jnp.isfinite(worth).all(axis=-1)
    usual = worth.mean(axis=0, where=finite[:, None])
    worst = max(1, round(level * worth.shape[-1]))
    cautious = usual.mean() + jnp.sort(worth - usual, axis=-1)[:, :worst].mean(axis=-1)
    return jnp.where(finite, cautious, jnp.nan)
