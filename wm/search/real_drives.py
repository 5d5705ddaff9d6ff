"""Real drives drawn at random for the search: where dreams start, and what teaches the terminal value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wm.data.batches import draw, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.spec import DRIVES_PER_BATCH


@dataclass(frozen=True)
class DriveSample:
    """`count` drives drawn with replacement from shards.

    Each of `rounds`, newest first, takes `newest_share` of what the newer ones leave.
    """

    shards: Shards
    rounds: Sequence[str]
    newest_share: float
    count: int
    seed: int

    def draw(self) -> list[Record]:
        """The drives, training drives, the same ones at every call."""
        return self.draw_from(self.shards.kept(validation=False), self.count, self.generator())

    def validation(self) -> list[Record]:
        """Validation drives, at most `count`, each once."""
        kept = self.shards.kept(validation=True)
        return [kept[i] for i in self.generator().permutation(len(kept))[: self.count]]

    def draw_from(self, records: Sequence[Record], count: int, rng: np.random.Generator) -> list[Record]:
        """`count` of `records`."""
        return draw(records, self.rounds, self.newest_share, count, rng)

    def generator(self) -> np.random.Generator:
        """The generator of chance at its start."""
        return np.random.default_rng(self.seed)

    def encoder_variance(self) -> tuple[float, ...]:
        """The encoder's variance in each latent dimension, the mean over the drives' moments."""
        logvar = np.concatenate([self.shards.read(record).observations["logvar"] for record in self.draw()])
        return tuple(round(float(variance), 6) for variance in np.exp(logvar).mean(axis=0))


def in_whole_batches(count: int) -> int:
    """How many of `count` drives fill whole batches."""
    size = min(DRIVES_PER_BATCH, count)
    return count // size * size


def padded_batches(
    shards: Shards, records: Sequence[Record], length: int
) -> Iterator[tuple[int, Sequence[Record], dict[str, np.ndarray]]]:
    """Drives side by side, padded to `length`: the number of the first, their records and columns.

    Drives at the end that fill no whole batch are left out, so that all batches have one shape.
    """
    size = min(DRIVES_PER_BATCH, len(records))
    for start in range(0, in_whole_batches(len(records)), size):
        batch = records[start : start + size]
        yield start, batch, stacked(shards, batch, length)
