"""Selection between candidates whose scores are estimates: the one-standard-error rule.

Candidates whose score lies within one standard error of the best one's cannot be told apart from it by
these scores. The caller chooses among them by another criterion.

Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984), section 3.4.3,
who choose the simplest of them.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

Name = TypeVar("Name")


class Estimate(NamedTuple):
    """A score and its standard error, in points."""

    score: float
    error: float


def equally_good(estimates: Mapping[Name, Estimate]) -> list[Name]:
    """The candidates, in their order, that score within one standard error of the best one's score."""
    best = max(estimates.values(), key=lambda estimate: estimate.score)
    return [name for name, estimate in estimates.items() if estimate.score >= best.score - best.error]


def median_error(scores: Float[np.ndarray, " n"]) -> float:
    """The standard error of the median, for any distribution of the scores.

    The number of n scores below the true median is binomial, n / 2 +- sqrt(n) / 2. So the quantiles at
    1 / 2 +- 1 / (2 sqrt(n)) enclose the true median as often as mean +- standard error enclose the true mean.
    Returned is half the distance between the two quantiles.
    """
    share = 0.5 / np.sqrt(len(scores))
    low, high = np.quantile(scores, (0.5 - share, 0.5 + share))
    return float(high - low) / 2
