"""Batches of whole drives for the training of the RNNs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from wm.data import resident
from wm.data.batches import draw, longest, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.models import rnn
from wm.models.rnn import Batch

Batcher = Callable[[Sequence[Record]], Batch]


@dataclass(frozen=True)
class DriveBatches:
    """Random batches of `size` drives. Each of `rounds`, newest first, takes `newest_share` of what the newer
    ones leave."""

    batcher: Batcher
    records: Sequence[Record]
    rounds: Sequence[str]
    newest_share: float
    size: int
    seed: Sequence[int]

    def draw(self, steps: int, done: int = 0) -> Iterator[Batch]:
        """`steps` batches, except the first `done`."""
        rng = np.random.default_rng(self.seed)
        for step in range(steps):
            records = draw(self.records, self.rounds, self.newest_share, self.size, rng)
            if step >= done:
                yield self.batcher(records)


def batcher(shards: Shards, records: Sequence[Record]) -> Batcher:
    """The function that puts some of these drives side by side, padded to the longest of all.

    It picks them on the device if all of them fit there.
    """
    read = partial(read_padded, shards, longest(records))
    fits = resident.fits(len(records) * resident.nbytes(read(records[:1])))
    return resident_batcher(read, records) if fits else read


def read_padded(shards: Shards, length: int, records: Sequence[Record]) -> Batch:
    """The drives, read from shards and padded to `length`."""
    return rnn.to_batch(stacked(shards, records, length))


def resident_batcher(read: Batcher, records: Sequence[Record]) -> Batcher:
    """A function with the results of `read` that keeps all of these drives on the device."""
    rows = {record: row for row, record in enumerate(records)}
    pieces = ((row, read([record])) for record, row in rows.items())
    drives = resident.on_device(pieces, len(records), len(records))
    return lambda chosen: resident.picked(drives, np.array([rows[record] for record in chosen]))
