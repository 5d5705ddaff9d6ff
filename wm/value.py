"""The value of a dreamt moment: what real drivers went on to win from moments like it.

A dream knows the road that was in sight when it began; what lies beyond it invents. So a short dream
is judged by its return and by the value of the moment in which it ends (Sutton 1988), which is linear
in the simulator's memory and fitted to real drives by least squares.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

RIDGE = 100.0  # samples' worth of pull towards weights of zero, in units of each feature's spread


class Value(NamedTuple):
    """Points to be expected of the next steps, between the least and the most that they can bring."""

    weight: Float[Array, " hidden"]
    bias: Float[Array, ""]
    least: float
    most: float

    def __call__(self, hidden: Float[Array, "*batch hidden"]) -> Float[Array, "*batch"]:
        return jnp.clip(hidden @ self.weight + self.bias, self.least, self.most)


def to_come(rewards: Float[np.ndarray, " time"], steps: int) -> Float[np.ndarray, " moment"]:
    """What the `steps` steps after each step brought, for as long as the drive has as many left."""
    total = np.cumsum(rewards, dtype=float)
    return total[steps:] - total[:-steps]


def fit(
    moments: Iterable[tuple[Float[np.ndarray, "sample hidden"], Float[np.ndarray, " sample"]]],
    *,
    least: float,
    most: float,
) -> tuple[Value, float]:
    """The value by ridge regression on (memories, points that followed), and the share of the points'
    variance that it explains."""
    memories, points = (np.concatenate(parts).astype(float) for parts in zip(*moments, strict=True))
    mean, spread = memories.mean(axis=0), memories.std(axis=0)
    centred, wanted = memories - mean, points - points.mean()
    weight = np.linalg.solve(centred.T @ centred + RIDGE * np.diag(spread**2), centred.T @ wanted)
    explained = 1 - np.var(wanted - centred @ weight) / np.var(wanted)
    bias = points.mean() - mean @ weight
    found = Value(jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32), least, most)
    return found, float(explained)
