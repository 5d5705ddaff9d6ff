"""The value of a dreamt moment: what real drivers went on to win from moments like it.

A dream knows the road that was in sight when it began; what lies beyond it invents. So a short dream
is judged by its return and by the value of the moment in which it ends (Sutton 1988): a small network on
the simulator's memory, fitted to real drives.
"""

from collections.abc import Iterable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from wm.models.fit import adam
from wm.models.fit import fit as trained

WIDTH, PASSES, BATCH, LEARNING_RATE = 128, 10, 512, 1e-3


class Value(eqx.Module):
    """Points to be expected of the next steps, between the least and the most that they can bring."""

    network: eqx.nn.MLP  # one hidden layer; standardised memory to standardised points
    mean: Float[Array, " hidden"]
    spread: Float[Array, " hidden"]
    mean_points: float
    spread_points: float
    least: float
    most: float

    def __call__(self, hidden: Float[Array, "*batch hidden"]) -> Float[Array, "*batch"]:
        rows = self.standardised(hidden.reshape(-1, hidden.shape[-1]))
        points = self.mean_points + self.spread_points * rows.reshape(hidden.shape[:-1])
        return jnp.clip(points, self.least, self.most)

    def standardised(self, hidden: Float[Array, "sample hidden"]) -> Float[Array, " sample"]:
        """The points in standard deviations from their mean."""
        return jax.vmap(self.network)((hidden - self.mean) / self.spread)


Drives = Iterable[tuple[Float[np.ndarray, "sample hidden"], Float[np.ndarray, " sample"]]]


def to_come(rewards: Float[np.ndarray, " time"], steps: int) -> Float[np.ndarray, " moment"]:
    """What the `steps` steps after each step brought, for as long as the drive has as many left."""
    total = np.cumsum(rewards, dtype=float)
    return total[steps:] - total[:-steps]


def fit(drives: Drives, *, least: float, most: float, seed: int) -> Value:
    """The value by least squares on each drive's (memories, points that followed)."""
    memories, points = _joined(drives)
    key, fit_key = jr.split(jr.key(seed))
    value = Value(
        network=eqx.nn.MLP(memories.shape[1], "scalar", WIDTH, depth=1, key=key),
        mean=jnp.asarray(memories.mean(axis=0), jnp.float32),
        spread=jnp.asarray(memories.std(axis=0) + 1e-6, jnp.float32),
        mean_points=float(points.mean()),
        spread_points=float(points.std() + 1e-6),
        least=least,
        most=most,
    )
    steps = -(-PASSES * len(points) // BATCH)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            drawn = rng.integers(len(points), size=BATCH)
            yield memories[drawn], (points[drawn] - value.mean_points) / value.spread_points

    def loss(network: eqx.nn.MLP, batch: tuple[Array, Array], key: PRNGKeyArray) -> tuple[Scalar, dict]:
        found = eqx.tree_at(lambda v: v.network, value, network).standardised(batch[0])
        error = jnp.mean((found - batch[1]) ** 2)
        return error, {"error": error}

    for network, *_ in trained(value.network, loss, batches(), adam(LEARNING_RATE, steps, 1.0), key=fit_key):
        last = network
    return eqx.tree_at(lambda v: v.network, value, last)


def explained(value: Value, drives: Drives) -> float:
    """The share of the variance of what followed in `drives` that the value explains."""
    memories, points = _joined(drives)
    error = points - np.asarray(value(jnp.asarray(memories, jnp.float32)))
    return float(1 - np.mean(error**2) / np.var(points))


def _joined(drives: Drives) -> tuple[np.ndarray, np.ndarray]:
    memories, points = zip(*drives, strict=True)
    return np.concatenate(memories), np.concatenate(points)
