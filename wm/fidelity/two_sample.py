"""A classifier two-sample test: whether a logistic regression can tell dreamt from real sequences.

Lopez-Paz and Oquab 2017. The classifier is fitted on some tracks; its AUC on other tracks is the probability
that it ranks a random dreamt sequence above a random real one: 0.5 if both have the same distribution, 1 if
it never errs.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

RIDGE = 0.01  # penalty on the weights of standardised features
NEWTON_STEPS = 10


def level(z: Float[np.ndarray, "*batch time latent"]) -> Float[np.ndarray, "*batch latent"]:
    """A feature of a sequence: the mean of its latents, which is little affected by noise."""
    return z.astype(float).mean(axis=-2)


def change(z: Float[np.ndarray, "*batch time latent"]) -> Float[np.ndarray, "*batch latent"]:
    """A feature of a sequence: the mean squared change of its latents from step to step, which noise raises;
    0 for a single latent."""
    changes = np.diff(z.astype(float), axis=-2)
    return np.sum(changes**2, axis=-2) / max(changes.shape[-2], 1)


FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"level": level, "change": change}


def fit(
    dreamt: Float[np.ndarray, "sample feature"], real: Float[np.ndarray, "sample feature"]
) -> Float[np.ndarray, " feature"]:
    """The weights of the logistic regression; a larger product with the features means more dreamt.

    Newton's method from zero. The weights are those of the features as they are, though the penalty is on
    standardised ones.
    """
    rows = np.concatenate([dreamt, real])
    spread = rows.std(axis=0) + 1e-6
    x = np.column_stack([(rows - rows.mean(axis=0)) / spread, np.ones(len(rows))])
    is_dreamt = np.repeat([1.0, 0.0], [len(dreamt), len(real)])
    penalty = RIDGE * np.append(np.ones(len(spread)), 0.0)  # none on the bias
    weight = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        chance = 0.5 + 0.5 * np.tanh(x @ weight / 2)  # the sigmoid, without overflow
        slope = x.T @ (chance - is_dreamt) / len(x) + penalty * weight
        curvature = (x * (chance * (1 - chance))[:, None]).T @ x / len(x) + np.diag(penalty + 1e-9)
        weight = weight - np.linalg.solve(curvature, slope)
    return weight[:-1] / spread


def wins(
    dreamt: Float[np.ndarray, "track sample"], real: Float[np.ndarray, "track sample"]
) -> Float[np.ndarray, "track track"]:
    """The AUC of these scores for each pair of a dreamt (row) and a real track (column); ties count half.

    The AUC over all tracks, or over tracks drawn with replacement, is a weighted mean of the pairs'.
    """
    difference = np.sign(dreamt[:, None, :, None] - real[None, :, None, :])
    return 0.5 + 0.5 * difference.mean(axis=(2, 3))
