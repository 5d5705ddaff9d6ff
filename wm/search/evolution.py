"""The evolution of one controller: a generator of generations, and what is kept of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from wm.models.controller import Controller
from wm.runtime.journal import Journal
from wm.search.cma_es import Generation, Schedule, maximise
from wm.search.fitness import Problem, dream_fitness
from wm.search.space import ControllerSpace


@dataclass(frozen=True)
class Chance:
    """The random numbers of a search: the seed of CMA-ES, the keys of the start states, of the dreams, and of
    the ascent."""

    seed: int
    start_key: PRNGKeyArray
    dream_key: PRNGKeyArray
    ascent_key: PRNGKeyArray


class SearchStep(NamedTuple):
    """A generation, and the controller at the centre of the search distribution after it."""

    generation: Generation
    controller: Controller


class Evolved(NamedTuple):
    """A search's curve, a row per generation, and snapshots of its controller; the last is the result."""

    curve: list[dict[str, Any]]
    snapshots: list[Controller]


def evolve(
    problem: Problem,
    space: ControllerSpace,
    start: Float[np.ndarray, " coordinate"],
    schedule: Schedule,
    chance: Chance,
    journal: Journal,
) -> Iterator[SearchStep]:
    """The search from `start`, generation by generation. Those in the journal are not dreamt again."""
    fitness = dream_fitness(problem, space, chance.dream_key)
    for generation in maximise(fitness, start, schedule, seed=chance.seed, journal=journal):
        yield SearchStep(generation, space.controller(jnp.asarray(generation.mean, jnp.float32)))


def recorded(
    before: Sequence[Controller], steps: Iterable[SearchStep], *, snapshot_every: int, generations: int
) -> Evolved:
    """The record of a search, its snapshots after those of `before`. The last generation's controller is one,
    too."""
    curve, snapshots = [], list(before)
    for generation, controller in steps:
        row = {name: value for name, value in generation._asdict().items() if name != "mean"}
        curve.append({name: round(value, 4) for name, value in row.items()})
        count = generation.number + 1
        if count % snapshot_every == 0 or count == generations:
            snapshots.append(controller)
    return Evolved(curve, snapshots)
