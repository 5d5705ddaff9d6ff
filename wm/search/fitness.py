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
from wm.models.controller import Controller
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

    @property
    def in_precision(self) -> tuple[list[SearchDream], RNN]:
        """The dreams and the watcher, their RNNs in the objective's precision."""
        cast = partial(rnn.in_precision, precision=self.objective.precision)
        return [dream._replace(simulator=cast(dream.simulator)) for dream in self.dreams], cast(self.watcher)

    def worth(
        self, dream: SearchDream, watcher: RNN, controllers: Controller, key: PRNGKeyArray
    ) -> Float[Array, "population start"]:
        """What each dream is worth: its return, less the cost of missed tiles, plus the terminal value.

        `controllers` has a leading population axis; each dreams from all start states of `dream`.
        """
        objective = self.objective
        simulation = Simulation(dream.simulator, watcher, self.rules, objective.dropout)
        dreamt = unroll(simulation, controllers, dream.starts, key, steps=objective.horizon_steps)
        outcome = apply_stuck_rule(dreamt.outcome, self.rules)
        outcome = objective.payoff.within_lap(outcome, objective.horizon_steps)
        missed = objective.payoff.of_missed(outcome.missed.sum(axis=0))
        return scoring.returns(outcome) - missed + dream.value(dreamt.end.memory.hidden)


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
    (dreams, watcher), evaluated = problem.in_precision, dream_program(problem)

    def fitness(generation: int, candidates: np.ndarray) -> np.ndarray:
        vectors = devices.split(jnp.asarray(candidates, jnp.float32))
        return devices.whole(evaluated(dreams, watcher, space, vectors, jr.fold_in(key, generation)))

    return fitness


def dream_program(problem: Problem) -> Callable[..., Any]:
    """The jitted fitness of candidates: (dreams, watcher, space, candidates, key) -> (population)."""
    objective = problem.objective

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
        population, worth = jax.vmap(space.controller)(candidates), []
        for i, dream in enumerate(drawn(dreams, objective.rollouts, start_key)):
            worth.append(problem.worth(dream, watcher, population, jr.fold_in(dream_key, i)))
        return conditional_value_at_risk(jnp.concatenate(worth, axis=-1), objective.cvar_level)

    return evaluated


def drawn(dreams: Sequence[SearchDream], count: int, key: PRNGKeyArray) -> list[SearchDream]:
    """The dreams from `count` of the start states, drawn without replacement; the simulators generate them in
    turn."""
    chosen = jr.choice(key, len(dreams[0].starts.mu), (count,), replace=False)
    turns = [chosen[i :: len(dreams)] for i in range(len(dreams))]
    return [
        dream._replace(starts=jax.tree.map(lambda leaf, turn=turn: leaf[turn], dream.starts))
        for dream, turn in zip(dreams, turns, strict=True)
    ]


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
