"""Batches of windows of drives for the training of the RNNs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from wm.data import resident
from wm.data.batches import draw, longest, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.models import rnn
from wm.models.rnn import Batch

Batcher = Callable[[Sequence[Record], Int[np.ndarray, " batch"]], Batch]  # drives, first steps


class BatchShape(NamedTuple):
    """How many windows a batch has, and how many steps each of them."""

    windows: int
    steps: int


@dataclass(frozen=True)
class WindowBatches:
    """Random batches of windows. Each of `rounds`, newest first, takes `newest_share` of what the newer ones
    leave."""

    batcher: Batcher
    records: Sequence[Record]
    rounds: Sequence[str]
    newest_share: float
    shape: BatchShape
    seed: Sequence[int]

    def draw(self, steps: int, done: int = 0) -> Iterator[Batch]:
        """`steps` batches, except the first `done`."""
        rng = np.random.default_rng(self.seed)
        for step in range(steps):
            records = draw(self.records, self.rounds, self.newest_share, self.shape.windows, rng)
            starts = first_steps(records, self.shape.steps, rng)
            if step >= done:
                yield self.batcher(records, starts)


def first_steps(records: Sequence[Record], steps: int, rng: np.random.Generator) -> Int[np.ndarray, " batch"]:
    """The random first step of a window of `steps` steps in each drive.

    A window may reach half its length beyond either end before it is moved inside the drive. Otherwise hardly
    any window would hold the first or the last step. The window of a shorter drive is the whole drive.
    """
    room = np.array([max(record.length - steps, 0) for record in records])
    return np.clip(rng.integers(-(steps // 2), room + steps // 2 + 1), 0, room)


def batcher(shards: Shards, records: Sequence[Record], steps: int) -> Batcher:
    """The function that puts windows of `steps` steps of these drives side by side.

    It picks them on the device if all drives fit there.
    """
    padded = max(longest(records), steps)
    fits = resident.fits(len(records) * resident.nbytes(read_padded(shards, padded, records[:1])))
    return resident_batcher(shards, records, steps) if fits else partial(read_padded, shards, steps)


def read_padded(
    shards: Shards, steps: int, records: Sequence[Record], starts: Int[np.ndarray, " batch"] | None = None
) -> Batch:
    """Windows of `steps` steps, read from shards; drives that end earlier are padded. Without `starts` they
    begin with the drives."""
    return rnn.to_batch(stacked(shards, records, steps, starts))


def resident_batcher(shards: Shards, records: Sequence[Record], steps: int) -> Batcher:
    """A function with the results of `read_padded` that keeps all of these drives on the device."""
    padded = max(longest(records), steps)
    rows = {record: row for row, record in enumerate(records)}
    pieces = ((row, read_padded(shards, padded, [record])) for record, row in rows.items())
    drives = resident.on_device(pieces, len(records), len(records))

    @jax.jit
    def windows(drives: Batch, chosen: jax.Array, starts: jax.Array) -> Batch:
        times = starts[:, None] + jnp.arange(steps)
        return jax.tree.map(lambda leaf: leaf[chosen[:, None], times], drives)

    return lambda chosen, starts: windows(drives, np.array([rows[record] for record in chosen]), starts)
