"""The one shape in which scores are reported, in dreams and in reality."""

from typing import Any

import numpy as np
from jaxtyping import Float


def summary(scores: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """n, mean, standard deviation (of the sample), its standard error, and the spread, in points."""
    scores = np.asarray(scores, float)
    std = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    numbers = {
        "mean": scores.mean(),
        "std": std,
        "sem": std / np.sqrt(len(scores)),
        "min": scores.min(),
        "median": np.median(scores),
        "max": scores.max(),
    }
    return {**{name: round(float(value), 2) for name, value in numbers.items()}, "n": len(scores)}
