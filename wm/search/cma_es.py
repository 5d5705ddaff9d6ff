"""CMA-ES (Hansen 2016) with the library `cma`, as a generator of generations."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wm.errors import Halted
from wm.runtime.journal import Journal

MAX_BROKEN = 0.1  # share of a generation's fitness values that may be NaN or infinite


@dataclass(frozen=True)
class Schedule:
    """How long CMA-ES searches, and how widely.

    A noisy fitness keeps CMA-ES from converging, and on a plateau it diverges. So each parameter's standard
    deviation is bounded by `max_std`, and after the share `decay_start` of the generations by a bound that
    falls geometrically to `final_std`.
    """

    population: int
    generations: int
    sigma0: float
    max_std: float
    final_std: float
    decay_start: float
    diagonal: bool

    def bound(self, generation: int) -> float:
        """The upper bound on a parameter's standard deviation in a generation."""
        decayed = (generation / self.generations - self.decay_start) / max(1 - self.decay_start, 1e-9)
        return self.max_std * (self.final_std / self.max_std) ** max(decayed, 0.0)


class Generation(NamedTuple):
    """A generation's number, mean and maximum of its finite fitness, and the state of CMA-ES after it.

    `mean` is the centre of the search distribution.
    """

    number: int
    mean_fitness: float
    best_fitness: float
    broken: int  # candidates whose fitness was not finite
    sigma: float
    mean: Float[np.ndarray, " parameter"]


def maximise(
    fitness: Callable[[int, Float[np.ndarray, "population parameter"]], Any],
    start: Float[np.ndarray, " parameter"],
    schedule: Schedule,
    *,
    seed: int,
    journal: Journal | None = None,
) -> Iterator[Generation]:
    """Maximises `fitness(generation, candidates)`, which returns a number per candidate, from `start`.

    A candidate whose fitness is not finite is ranked last; more than a tenth of these in one generation raise
    Halted. The fitness is written to `journal`. Values already there are not computed again, but passed to
    the library, which thereby reaches the same state.
    """
    warnings.filterwarnings("ignore", module="cma")  # on its inner numbers, which a user cannot change
    import cma  # here because its import is slow, and checking params.yaml must not wait for it

    strategy = cma.CMAEvolutionStrategy(start, schedule.sigma0, _options(schedule, seed))
    for number in range(schedule.generations):
        strategy.opts.set("maxstd", schedule.bound(number))
        candidates = strategy.ask()
        values = _values(fitness, number, np.stack(candidates), journal)
        finite = np.isfinite(values)
        broken = int(np.sum(~finite))
        if broken > MAX_BROKEN * len(values):
            found = f"found {broken} of {len(values)} fitness values that are not finite"
            remedy = "See M's loss in train_rnn.csv."
            raise Halted(f"generation {number}: {found}, expected at most a tenth. {remedy}")
        ranked = np.where(finite, values, np.min(values[finite]) - 1)
        strategy.tell(candidates, (-ranked).tolist())
        mean_fitness, best_fitness = float(np.mean(values[finite])), float(np.max(values[finite]))
        sigma, mean = float(strategy.sigma), np.array(strategy.mean)
        yield Generation(number, mean_fitness, best_fitness, broken, sigma, mean)


def _values(
    fitness: Callable[..., Any], number: int, candidates: np.ndarray, journal: Journal | None
) -> Float[np.ndarray, " population"]:
    """The candidates' fitness values, from the journal if it has them; otherwise they are added to it."""
    known = journal.fitness(number, candidates) if journal else None
    if known is not None:
        return known
    values = np.asarray(fitness(number, candidates), float)
    if journal:
        journal.write(number, candidates, values)
    return values


def _options(schedule: Schedule, seed: int) -> dict[str, Any]:
    """The library's options: a random generator of its own, no files read, no early stopping."""
    rng = np.random.default_rng(seed)
    return {
        "popsize": schedule.population,
        "CMA_diagonal": schedule.diagonal,
        "maxstd": schedule.bound(0),
        "randn": lambda *shape: rng.standard_normal(shape),
        "seed": np.nan,  # any number would seed NumPy's global generator
        "signals_filename": "",  # otherwise it obeys a file of that name in the working directory
        "verbose": -10,
        "verb_log": 0,
    }
