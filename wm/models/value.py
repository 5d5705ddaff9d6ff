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

WIDTH, PASSES, BATCH, LEARNING_RATE = 128, 5, 512, 2e-3


class Value(eqx.Module):
    """The expected points of the steps that follow, clipped to [lowest, highest]."""

    network: eqx.nn.MLP  # one hidden layer; standardised hidden state to standardised points
    mean: Float[Array, " hidden"]
    spread: Float[Array, " hidden"]
    mean_points: Float[Array, ""]
    spread_points: Float[Array, ""]
    lowest: Float[Array, ""]
    highest: Float[Array, ""]

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
    mean, spread = hidden.mean(axis=0), hidden.std(axis=0) + 1e-6
    mean_points, spread_points = points.mean(), points.std() + 1e-6
    key, fit_key = jr.split(jr.key(seed))
    network = eqx.nn.MLP(hidden.shape[1], "scalar", WIDTH, depth=1, key=key)
    steps = -(-PASSES * len(points) // BATCH)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            drawn = rng.integers(len(points), size=BATCH)
            standardised = (hidden[drawn] - mean) / spread, (points[drawn] - mean_points) / spread_points
            yield standardised[0].astype(np.float32), standardised[1].astype(np.float32)

    optimiser = fit.adam(LEARNING_RATE, steps, 1.0)
    for step in fit.updates(network, _error, batches(), optimiser, key=fit_key):
        network = step.model
    numbers = (mean, spread, mean_points, spread_points, lowest, highest)
    return Value(network, *(jnp.asarray(number, jnp.float32) for number in numbers))


def _error(
    network: eqx.nn.MLP, batch: tuple[Array, Array], key: PRNGKeyArray
) -> tuple[Scalar, dict[str, Scalar]]:
    hidden, points = batch
    error = jnp.mean((jax.vmap(network)(hidden) - points) ** 2)
    return error, {"error": error}


def explained(value: Value, pairs: Pairs) -> float:
    """The share of the variance of the points in `pairs` that the value explains."""
    hidden, points = _joined(pairs)
    padded = np.pad(hidden, [(0, -len(hidden) % BATCH), (0, 0)])  # so that all batches have one shape
    batches = padded.astype(np.float32).reshape(-1, BATCH, hidden.shape[1])
    predicted = np.concatenate([_predict(value, jnp.asarray(batch)) for batch in batches])[: len(points)]
    return float(1 - np.mean((points - predicted) ** 2) / np.var(points))


_predict = eqx.filter_jit(Value.__call__)


def _joined(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    hidden, points = zip(*pairs, strict=True)
    return np.concatenate(hidden), np.concatenate(points)
