"""The terminal value: the points that real drivers earned after moments like the one in which a dream ends.

A dream knows the road that was in sight when it began and invents what lies beyond. So a short dream is
scored by its return plus the value of its last moment (Sutton 1988). The value is a small network on the
simulator's hidden state, fitted to real drives.
"""

from collections.abc import Iterable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from wm.models import fit

WIDTH, PASSES, BATCH, LEARNING_RATE = 128, 10, 512, 1e-3


class Value(eqx.Module):
    """The expected points of the steps that follow, clipped to [lowest, highest]."""

    network: eqx.nn.MLP  # one hidden layer; standardised hidden state to standardised points
    mean: Float[Array, " hidden"]
    spread: Float[Array, " hidden"]
    mean_points: float
    spread_points: float
    lowest: float
    highest: float

    def __call__(self, hidden: Float[Array, "*batch hidden"]) -> Float[Array, "*batch"]:
        rows = self.standardised(hidden.reshape(-1, hidden.shape[-1]))
        points = self.mean_points + self.spread_points * rows.reshape(hidden.shape[:-1])
        return jnp.clip(points, self.lowest, self.highest)

    def standardised(self, hidden: Float[Array, "sample hidden"]) -> Float[Array, " sample"]:
        """The points, in standard deviations from their mean."""
        return jax.vmap(self.network)((hidden - self.mean) / self.spread)


Pairs = Iterable[tuple[Float[np.ndarray, "sample hidden"], Float[np.ndarray, " sample"]]]


def sums_ahead(points: Float[np.ndarray, " time"], steps: int) -> Float[np.ndarray, " moment"]:
    """The sum over the `steps` steps after each step that has as many after it."""
    total = np.cumsum(points, dtype=float)
    return total[steps:] - total[:-steps]


def least_squares(pairs: Pairs, *, lowest: float, highest: float, seed: int) -> Value:
    """The value fitted to `pairs`, one for each drive: hidden states and the points that followed."""
    hidden, points = _joined(pairs)
    key, fit_key = jr.split(jr.key(seed))
    value = Value(
        network=eqx.nn.MLP(hidden.shape[1], "scalar", WIDTH, depth=1, key=key),
        mean=jnp.asarray(hidden.mean(axis=0), jnp.float32),
        spread=jnp.asarray(hidden.std(axis=0) + 1e-6, jnp.float32),
        mean_points=float(points.mean()),
        spread_points=float(points.std() + 1e-6),
        lowest=lowest,
        highest=highest,
    )
    steps = -(-PASSES * len(points) // BATCH)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            drawn = rng.integers(len(points), size=BATCH)
            yield hidden[drawn], (points[drawn] - value.mean_points) / value.spread_points

    def loss(network: eqx.nn.MLP, batch: tuple[Array, Array], key: PRNGKeyArray) -> tuple[Scalar, dict]:
        predicted = eqx.tree_at(lambda v: v.network, value, network).standardised(batch[0])
        error = jnp.mean((predicted - batch[1]) ** 2)
        return error, {"error": error}

    optimiser = fit.adam(LEARNING_RATE, steps, 1.0)
    network = value.network
    for step in fit.updates(network, loss, batches(), optimiser, key=fit_key):
        network = step.model
    return eqx.tree_at(lambda v: v.network, value, network)


def explained(value: Value, pairs: Pairs) -> float:
    """The share of the variance of the points in `pairs` that the value explains."""
    hidden, points = _joined(pairs)
    error = points - np.asarray(value(jnp.asarray(hidden, jnp.float32)))
    return float(1 - np.mean(error**2) / np.var(points))


def _joined(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    hidden, points = zip(*pairs, strict=True)
    return np.concatenate(hidden), np.concatenate(points)
