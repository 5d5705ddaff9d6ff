"""All devices of this process at once: the leading axis of what is computed on, split over them."""

from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


def split(tree: Tree) -> Tree:
    """The arrays with their leading axis shared out over the devices, for a jitted function to go on from.

    Where the axis is no multiple of their number the arrays go to each device whole. The results are
    the same but for the order of sums; on one device nothing is done.
    """
    count = jax.device_count()
    if count == 1:
        return tree
    mesh = Mesh(np.array(jax.devices()), ("device",))

    def place(leaf: jax.Array | np.ndarray) -> jax.Array:
        whole = leaf.ndim == 0 or leaf.shape[0] % count
        spec = PartitionSpec() if whole else PartitionSpec("device")
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(place, tree)
