"""The linear controller (C of the paper), and snapshots of it."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from wm.spec import ACTION_BOX, ACTION_SIZE, within

PEDALS = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def squash(raw: Float[Array, " action"], pedals: str) -> Float[Array, " action"]:
    """Steering by tanh, in [-1, 1]; gas and brake by the activation that `pedals` names."""
    return jnp.concatenate([jnp.tanh(raw[:1]), PEDALS[pedals](raw[1:])])


class Controller(eqx.Module):
    """Linear policy on the latent and the hidden state (Ha & Schmidhuber 2018, eq. 1), all zeros at first.

    `limits` are (lowest, highest) of steering, gas and brake, to which actions are clipped. `pedals` is the
    activation of gas and brake: "sigmoid", or "tanh", whose negative half is clipped.
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
            raise ValueError(f"pedals: found {pedals!r}, expected one of {', '.join(PEDALS)}")
        if not within(limits, ACTION_BOX):
            raise ValueError(f"limits: found {limits!r}, expected (lowest, highest) within {ACTION_BOX}")
        self.weight = jnp.zeros((ACTION_SIZE, features))
        self.bias = jnp.zeros(ACTION_SIZE)
        self.limits = tuple((float(low), float(high)) for low, high in limits)
        self.pedals = pedals

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of `__init__` except the key."""
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
        """Weight and bias as one vector."""
        return jnp.concatenate([self.weight.ravel(), self.bias])

    def with_parameters(self, vector: Float[Array, " parameter"]) -> "Controller":
        """A controller with the same limits and other parameters."""
        weight = vector[: self.weight.size].reshape(self.weight.shape)
        return eqx.tree_at(lambda c: (c.weight, c.bias), self, (weight, vector[self.weight.size :]))


class Snapshots(eqx.Module):
    """Controllers recorded during evolution, oldest first: the leaves have a leading axis of `count`."""

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
        zero = Controller(features=features, limits=limits, pedals=pedals)
        self.controllers = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), zero)
        self.count = count

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of `__init__` except the key."""
        return {"count": self.count, **self.controllers.sizes}


def stack(controllers: list[Controller]) -> Controller:
    """The controllers as one, whose leaves have a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *controllers)


def snapshots(controllers: list[Controller]) -> Snapshots:
    """The controllers as one model that can be saved."""
    empty = Snapshots(count=len(controllers), **controllers[0].sizes)
    return eqx.tree_at(lambda s: s.controllers, empty, stack(controllers))
