"""Linear probes: ridge regressions that read what the game knows from the latent z."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RIDGE = 1e-3  # penalty on the weights of standardised latents, relative to the mean squared latent, 1


class Probe(NamedTuple):
    """A linear map from latents to labels, in the labels' units."""

    mean: Float[np.ndarray, " latent"]
    spread: Float[np.ndarray, " latent"]
    weight: Float[np.ndarray, "latent label"]
    offset: Float[np.ndarray, " label"]

    def __call__(self, z: Float[np.ndarray, "*batch latent"]) -> Float[np.ndarray, "*batch label"]:
        return (z - self.mean) / self.spread @ self.weight + self.offset


def fit(z: Float[np.ndarray, "sample latent"], labels: Float[np.ndarray, "sample label"]) -> Probe:
    """The ridge regression from the standardised latents to the labels, in closed form."""
    z, labels = z.astype(float), labels.astype(float)
    mean, spread, offset = z.mean(axis=0), z.std(axis=0) + 1e-6, labels.mean(axis=0)
    x = (z - mean) / spread
    gram = x.T @ x / len(x) + RIDGE * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, x.T @ (labels - offset) / len(x))
    return Probe(mean, spread, weight, offset)


def explained(
    predicted: Float[np.ndarray, "sample label"], labels: Float[np.ndarray, "sample label"]
) -> Float[np.ndarray, " label"]:
    """R2, the share of each label's variance that is predicted: 1 at best, 0 for a constant label."""
    error, variance = np.mean((labels - predicted) ** 2, axis=0), np.var(labels, axis=0)
    return np.where(variance > 0, 1 - error / np.where(variance > 0, variance, 1), 0.0)
