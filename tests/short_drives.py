"""Drives of three steps, for tests that need drives but not their content."""

import numpy as np

from wm.data.episode import Episode, Record


def short_drive(seed: int, source: str) -> Episode:
    """A drive that ends, unfinished, after three black frames."""
    last = np.arange(3) == 2
    return Episode(
        Record(0, seed, source, 3, score=1.0, warm_up_reward=0.0, lap_finished=False),
        {"frame": np.zeros((3, 64, 64, 3), np.uint8)},
        np.zeros((3, 3), np.float32),
        np.zeros(3, np.float32),
        np.zeros(3, np.int16),
        last,
        ~last & last,
    )
