"""The linear controller (C of the paper) and its snapshots."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from wm.spec import ACTION_BOX, ACTION_SIZE, within

PEDALS = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def squash(raw: Float[Array, " action"], pedals: str) -> Float[Array, " action"]:
    """Steering by tanh into [-1, 1]; gas and brake by sigmoid into [0, 1], or by tanh, too."""
    return jnp.concatenate([jnp.tanh(raw[:1]), PEDALS[pedals](raw[1:])])


class Controller(eqx.Module):
    """Linear policy on the latent and the hidden state (Ha & Schmidhuber 2018, eq. 1), all zeros at first.

    `limits` are (lowest, highest) of steering, gas and brake; actions beyond are clamped.
    """

    weight: Float[Array, "action features"]
    bias: Float[Array, " action"]
    limits: tuple[tuple[float, float], ...] = eqx.field(static=True)
    pedals: str = eqx.field(static=True)

    def __init__(
        self,
        *,
        features: int,
        limits: Sequence[Sequence[float]] = ACTION_BOX,
        pedals: str = "sigmoid",
        key: PRNGKeyArray | None = None,
    ):
        if pedals not in PEDALS:
            raise ValueError(f"pedals: found {pedals!r}, wanted one of {', '.join(PEDALS)}")
        if not within(limits, ACTION_BOX):
            raise ValueError(f"limits: found {limits!r}, wanted (lowest, highest) within {ACTION_BOX}")
        self.weight = jnp.zeros((ACTION_SIZE, features))
        self.bias = jnp.zeros(ACTION_SIZE)
        self.limits = tuple((float(low), float(high)) for low, high in limits)
        self.pedals = pedals

    @property
    def sizes(self) -> dict[str, Any]:
        """What `__init__` takes, but for the key."""
        limits = [list(pair) for pair in self.limits]
        return {"features": self.weight.shape[-1], "limits": limits, "pedals": self.pedals}

    def __call__(
        self, z: Float[Array, " latent"], hidden: Float[Array, " hidden"]
    ) -> Float[Array, " action"]:
        """Steering, gas and brake."""
        low, high = jnp.array(self.limits).T
        raw = self.weight @ jnp.concatenate([z, hidden]) + self.bias
        return jnp.clip(squash(raw, self.pedals), low, high)

    @property
    def parameters(self) -> Float[Array, " parameter"]:
        """Weight and bias as one vector: what evolution searches."""
        return jnp.concatenate([self.weight.ravel(), self.bias])

    def with_parameters(self, vector: Float[Array, " parameter"]) -> "Controller":
        """The same controller with other numbers."""
        weight = vector[: self.weight.size].reshape(self.weight.shape)
        return eqx.tree_at(lambda c: (c.weight, c.bias), self, (weight, vector[self.weight.size :]))


class Basis(NamedTuple):
    """Coordinates in which controllers are searched: weights on the main directions of what they see."""

    directions: Float[Array, "component features"]  # of length one, at right angles
    mean: Float[Array, " features"]

    def controller(self, blank: Controller, coordinates: Float[Array, " coordinate"]) -> Controller:
        """The controller at `coordinates`: of each action its weights, and then the actions' biases."""
        weight = coordinates[:-ACTION_SIZE].reshape(ACTION_SIZE, -1) @ self.directions
        bias = coordinates[-ACTION_SIZE:] - weight @ self.mean
        return eqx.tree_at(lambda c: (c.weight, c.bias), blank, (weight, bias))

    def coordinates(self, controller: Controller) -> Float[Array, " coordinate"]:
        """Where `controller` is, or the nearest that can be said of it."""
        weight = controller.weight @ self.directions.T
        return jnp.concatenate([weight.ravel(), controller.bias + controller.weight @ self.mean])


def principal_components(seen: Float[np.ndarray, "sample features"], count: int) -> Basis:
    """The `count` directions in which `seen` varies most."""
    seen = np.asarray(seen, np.float64)
    mean = seen.mean(axis=0)
    directions = np.linalg.svd(seen - mean, full_matrices=False)[2][:count]
    return Basis(jnp.asarray(directions, jnp.float32), jnp.asarray(mean, jnp.float32))


class Snapshots(eqx.Module):
    """Controllers on evolution's way, oldest first: the leaves have a leading axis of `count`."""

    controllers: Controller
    count: int = eqx.field(static=True)

    def __init__(
        self,
        *,
        count: int,
        features: int,
        limits: Sequence[Sequence[float]] = ACTION_BOX,
        pedals: str = "sigmoid",
        key: PRNGKeyArray | None = None,
    ):
        one = Controller(features=features, limits=limits, pedals=pedals)
        self.controllers = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), one)
        self.count = count

    @property
    def sizes(self) -> dict[str, Any]:
        """What `__init__` takes, but for the key."""
        return {"count": self.count, **self.controllers.sizes}


def stack(controllers: list[Controller]) -> Controller:
    """One Controller whose leaves have a leading axis, one entry for each of `controllers`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *controllers)


def snapshots(controllers: list[Controller]) -> Snapshots:
    """The controllers as one model to save."""
    empty = Snapshots(count=len(controllers), **controllers[0].sizes)
    return eqx.tree_at(lambda s: s.controllers, empty, stack(controllers))
