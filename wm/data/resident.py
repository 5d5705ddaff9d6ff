"""Training data that stays on the device, where it has room: batches are picked there by their rows.

Elsewhere batches are put together by the host and sent. The batches are the same.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from wm.runtime.progress import progress

Tree = TypeVar("Tree")

MOST = 2 / 3  # of what the device has free; training takes of the rest


def fits(size: int) -> bool:
    """Whether so many bytes may stay on the device: one that is alone, with memory of its own."""
    if jax.device_count() > 1:
        return False
    memory = jax.devices()[0].memory_stats()
    return bool(memory) and size <= MOST * (memory["bytes_limit"] - memory["bytes_in_use"])


def nbytes(tree: object) -> int:
    """Bytes of all arrays of a tree."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def kept(pieces: Iterable[tuple[int, Any]], count: int, rows: int) -> Any:
    """Arrays of so many rows on the device, each of `count` pieces in them from the row that it comes with.

    Pieces are alike in shape; what one covers of those before it is overwritten.
    """
    whole = None
    for start, piece in progress(pieces, "onto the device", count):
        if whole is None:
            whole = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype), piece)
        whole = _written(whole, piece, start)
    if whole is None:
        raise ValueError("found no pieces, wanted one at least")
    return whole


@partial(jax.jit, donate_argnums=0)
def _written(whole: Tree, piece: Tree, start: jax.Array) -> Tree:
    def write(rows: jax.Array, some: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(rows, some, start, axis=0)

    return jax.tree.map(write, whole, piece)


@jax.jit
def picked(whole: Tree, rows: np.ndarray | jax.Array) -> Tree:
    """These rows of all arrays."""
    return jax.tree.map(lambda leaf: leaf[rows], whole)
