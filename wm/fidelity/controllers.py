"""Controllers of all qualities, on which a ranking in dreams can be tested."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from wm.models.controller import Controller, Snapshots


def of_all_qualities(
    last: Controller, snapshots: Snapshots, count: int, noise_scales: Sequence[float], key: PRNGKeyArray
) -> dict[str, Controller]:
    """By name: `count` snapshots of the search, spaced geometrically, and the last controller with noise."""
    chosen: dict[str, Controller] = {}
    for i in np.geomspace(1, snapshots.count - 1, count).round().astype(int).tolist():
        chosen[f"snapshot_{i}"] = jax.tree.map(lambda leaf, i=i: leaf[i], snapshots.controllers)
    for i, scale in enumerate(noise_scales):
        chosen[f"noise_{scale}"] = perturbed(last, scale, jr.fold_in(key, i))
    return chosen


def perturbed(controller: Controller, scale: float, key: PRNGKeyArray) -> Controller:
    """The controller with noise on its parameters, `scale` times their root mean square."""
    parameters = controller.parameters
    size = scale * jnp.sqrt(jnp.mean(parameters**2))
    return controller.with_parameters(parameters + size * jr.normal(key, parameters.shape))
