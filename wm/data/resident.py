"""Training data that stays on the device if it has room: batches are picked there by their rows.

Otherwise the host reads batches and sends them. The batches are the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from wm.data.batches import frame_batches, longest, shuffled
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.runtime.progress import progress
from wm.spec import FRAME_BYTES, FRAME_SHAPE

Tree = TypeVar("Tree")

MAX_SHARE = 2 / 3  # of what JAX may still use of the device's memory; training needs the rest


def fits(size: int) -> bool:
    """Whether `size` bytes may stay on the device: it must be the only one, and have memory of its own."""
    if jax.device_count() > 1:
        return False
    memory = jax.devices()[0].memory_stats() or {}
    return "bytes_limit" in memory and size <= MAX_SHARE * (memory["bytes_limit"] - memory["bytes_in_use"])


def nbytes(tree: object) -> int:
    """Bytes of all arrays of a tree."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def on_device(pieces: Iterable[tuple[int, Any]], count: int, rows: int) -> Any:
    """Arrays of `rows` rows on the device, filled with `count` pieces, each with the row at which it begins.

    All pieces have the same shape; a later piece overwrites the rows of an earlier one that it covers.
    """
    whole = None
    for start, piece in progress(pieces, "onto the device", count):
        if whole is None:
            whole = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype), piece)
        whole = _written(whole, piece, start)
    if whole is None:
        raise ValueError("found no pieces, expected at least one")
    return whole


@partial(jax.jit, donate_argnums=0)
def _written(whole: Tree, piece: Tree, start: jax.Array) -> Tree:
    def write(rows: jax.Array, part: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(rows, part, start, axis=0)

    return jax.tree.map(write, whole, piece)


@jax.jit
def picked(whole: Tree, rows: np.ndarray | jax.Array) -> Tree:
    """These rows of all arrays."""
    return jax.tree.map(lambda leaf: leaf[rows], whole)


@dataclass(frozen=True)
class FrameOrder:
    """The order of frames: those of `buffer_episodes` episodes are shuffled together."""

    batch_size: int
    buffer_episodes: int
    seed: int


def frames(
    shards: Shards, records: Sequence[Record], order: FrameOrder
) -> Iterator[np.ndarray] | Iterator[jax.Array]:
    """Endless batches of frames, from the device if all of them fit there."""
    size = sum(record.length for record in records) * FRAME_BYTES
    return (frames_picked if fits(size) else frames_read)(shards, records, order)


def frames_read(shards: Shards, records: Sequence[Record], order: FrameOrder) -> Iterator[np.ndarray]:
    """Endless batches of frames, read from shards."""
    return frame_batches(shards, records, **asdict(order))


def frames_picked(shards: Shards, records: Sequence[Record], order: FrameOrder) -> Iterator[jax.Array]:
    """The same batches, picked on the device, which keeps all frames one episode after the other."""
    length, ends = longest(records), np.cumsum([record.length for record in records]).tolist()

    def pieces() -> Iterator[tuple[int, np.ndarray]]:
        for record, end in zip(records, ends, strict=True):
            piece = np.zeros((length, *FRAME_SHAPE), np.uint8)  # the next one overwrites the empty rows
            piece[: record.length] = shards.read(record).observations["frame"]
            yield end - record.length, piece

    def rows(number: int) -> np.ndarray:
        return np.arange(ends[number] - records[number].length, ends[number])

    size = ends[-1] + length  # with room for the last piece's empty rows
    resident = on_device(pieces(), len(records), size)
    return (picked(resident, batch) for batch in shuffled(rows, len(records), **asdict(order)))
