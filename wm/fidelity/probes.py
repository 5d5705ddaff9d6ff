"""Linear probes: ridge regressions that read from latents what the game knows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RIDGE = 1e-3  # penalty on the weights of standardised features
LAGS = (0, 1, 2, 4, 8)  # steps back, of the latents that are read; a single frame does not show the speed


class Probe(NamedTuple):
    """A linear map from features to labels, in the labels' units."""

    weight: Float[np.ndarray, "feature label"]
    offset: Float[np.ndarray, " label"]

    def __call__(self, x: Float[np.ndarray, "*batch feature"]) -> Float[np.ndarray, "*batch label"]:
        return x @ self.weight.astype(x.dtype) + self.offset


def recent(z: Float[np.ndarray, "*batch time latent"]) -> Float[np.ndarray, "*batch time feature"]:
    """What a probe reads at each step: its latent and those of the steps `LAGS` before, or the first one."""
    steps = np.arange(z.shape[-2])
    return np.concatenate([z[..., np.maximum(steps - lag, 0), :] for lag in LAGS], axis=-1)


def fit(x: Float[np.ndarray, "sample feature"], labels: Float[np.ndarray, "sample label"]) -> Probe:
    """The ridge regression from the standardised features to the labels, in closed form."""
    x, labels = x.astype(float), labels.astype(float)
    mean, spread, offset = x.mean(axis=0), x.std(axis=0) + 1e-6, labels.mean(axis=0)
    x = (x - mean) / spread
    gram = x.T @ x / len(x) + RIDGE * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, x.T @ (labels - offset) / len(x)) / spread[:, None]
    return Probe(weight, offset - mean @ weight)


def explained(
    predicted: Float[np.ndarray, "sample label"], labels: Float[np.ndarray, "sample label"]
) -> Float[np.ndarray, " label"]:
    """R2, the share of each label's variance that is predicted: 1 at best, 0 for a constant label."""
    error, variance = np.mean((labels - predicted) ** 2, axis=0), np.var(labels, axis=0)
    return np.where(variance > 0, 1 - error / np.where(variance > 0, variance, 1), 0.0)
