"""The space in which controllers are searched: weights on the principal components of their features."""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from wm.dream.starts import Starts
from wm.models.controller import Controller
from wm.spec import ACTION_SIZE


class ControllerSpace(NamedTuple):
    """Coordinates of controllers: each action's weights on `directions`, then the actions' biases.

    All controllers have the action limits and the pedal activation of `zero`, the controller of zeros.
    """

    zero: Controller
    directions: Float[Array, "component features"]  # orthonormal
    mean: Float[Array, " features"]

    def controller(self, coordinates: Float[Array, " coordinate"]) -> Controller:
        """The controller at `coordinates`."""
        weight = coordinates[:-ACTION_SIZE].reshape(ACTION_SIZE, -1) @ self.directions
        bias = coordinates[-ACTION_SIZE:] - weight @ self.mean
        return eqx.tree_at(lambda c: (c.weight, c.bias), self.zero, (weight, bias))

    def coordinates(self, controller: Controller) -> Float[Array, " coordinate"]:
        """The coordinates of `controller`, its weights projected onto the directions."""
        weight = controller.weight @ self.directions.T
        return jnp.concatenate([weight.ravel(), controller.bias + controller.weight @ self.mean])

    def start(self, previous: Controller | None) -> Float[Array, " coordinate"]:
        """The coordinates at which a search begins: those of `previous`, or of the controller of zeros."""
        return self.coordinates(previous) if previous else jnp.zeros(self.coordinates(self.zero).shape)


@dataclass(frozen=True)
class Candidates:
    """The controllers that a search considers, and the one it begins at: `previous`, if given, or `zero`.

    All have the action limits and the pedal activation of `zero`.
    """

    zero: Controller
    previous: Controller | None
    components: int  # principal components in which the weights are searched

    def space(self, starts: Starts, key: PRNGKeyArray) -> ControllerSpace:
        """The space of the main directions of what controllers read at start states: z, sampled with `key`,
        and the watcher's hidden state."""
        features = np.concatenate([starts.sample(key), starts.watched.hidden], axis=-1)
        return principal_components(self.zero, features, self.components)


def principal_components(
    zero: Controller, features: Float[np.ndarray, "sample features"], count: int
) -> ControllerSpace:
    """The space of the `count` directions in which `features` vary most."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    directions = np.linalg.svd(features - mean, full_matrices=False)[2][:count]
    return ControllerSpace(zero, jnp.asarray(directions, jnp.float32), jnp.asarray(mean, jnp.float32))
