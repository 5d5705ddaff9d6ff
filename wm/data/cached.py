"""Shards whose episodes stay in memory once they are read."""

from functools import lru_cache
from pathlib import Path
from threading import Lock

from wm.data.episode import Episode, Record
from wm.data.shards import Shards

RECENT_EPISODES = 4096  # kept in memory: 300 MB of latents


class CachedShards(Shards):
    """Shards that read each episode once, as long as no more than `RECENT_EPISODES` are in use.

    Threads read in turn, because two must not read from one Parquet file at once.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._recent = lru_cache(RECENT_EPISODES)(super().read)
        self._turn = Lock()

    def read(self, record: Record) -> Episode:
        with self._turn:
            return self._recent(record)
