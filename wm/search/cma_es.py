"""CMA-ES (Hansen 2016) by the library `cma`, as a generator of generations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wm.errors import Halted
from wm.runtime.journal import Journal

MOST_BROKEN = 0.1  # of a generation's returns may be no finite number


@dataclass(frozen=True)
class Schedule:
    """How long CMA-ES searches, and how wide.

    Noisy returns keep CMA-ES from converging by itself, and on a plateau it diverges. So each parameter's
    standard deviation is bounded by `max_std`, and after the share `decay_start` of the generations by a
    bound that falls geometrically to `final_std`.
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
    """What came of one generation, the returns being those that are finite; `mean` is the centre of the
    search distribution after it."""

    number: int
    mean_return: float
    best_return: float
    broken: int  # candidates whose return was not finite
    sigma: float
    mean: Float[np.ndarray, " parameter"]


def evolve(
    fitness: Callable[[int, Float[np.ndarray, "population parameter"]], Any],
    start: Float[np.ndarray, " parameter"],
    search: Schedule,
    *,
    seed: int,
    journal: Journal | None = None,
) -> Iterator[Generation]:
    """Maximises `fitness(generation, candidates)`, one return a candidate, from `start`.

    A candidate whose return is not finite is ranked worst; Halted is raised where more than a tenth of a
    generation's are. Returns are written to `journal`; those found there are not asked for again, but told to
    the library once more, which so comes to where it was.
    """
    import cma  # here, for it takes longer to import than all of params.yaml to be checked

    strategy = cma.CMAEvolutionStrategy(start, search.sigma0, _options(search, seed))
    for number in range(search.generations):
        strategy.opts.set("maxstd", search.bound(number))
        candidates = strategy.ask()
        returns = _returns(fitness, number, np.stack(candidates), journal)
        broken = int(np.sum(~np.isfinite(returns)))
        if broken > MOST_BROKEN * len(returns):
            found = f"{broken} of {len(returns)} returns are not finite"
            raise Halted(f"generation {number}: {found}, wanted a tenth at most")
        whole = returns[np.isfinite(returns)]
        ranked = np.where(np.isfinite(returns), returns, np.min(whole) - 1)
        strategy.tell(candidates, (-ranked).tolist())
        mean_return, best_return = float(np.mean(whole)), float(np.max(whole))
        yield Generation(
            number, mean_return, best_return, broken, float(strategy.sigma), np.array(strategy.mean)
        )


def _returns(
    fitness: Callable[..., Any], number: int, candidates: np.ndarray, journal: Journal | None
) -> Float[np.ndarray, " population"]:
    """The candidates' returns, from the journal if it has them, and then in it."""
    known = journal.returns(number, candidates) if journal else None
    if known is not None:
        return known
    returns = np.asarray(fitness(number, candidates), float)
    if journal:
        journal.write(number, candidates, returns)
    return returns


def _options(search: Schedule, seed: int) -> dict[str, Any]:
    """The library's options: its own random generator, no files read, no stopping before time."""
    rng = np.random.default_rng(seed)
    return {
        "popsize": search.population,
        "CMA_diagonal": search.diagonal,
        "maxstd": search.bound(0),
        "randn": lambda *shape: rng.standard_normal(shape),
        "seed": np.nan,  # it would seed NumPy's global generator
        "signals_filename": "",  # it would obey a file that lies in the working directory
        "verbose": -10,
        "verb_log": 0,
    }
