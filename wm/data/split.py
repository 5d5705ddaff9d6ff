"""Which raw drives become training data, and which only validate."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wm.data.episode import Record


def validation_tracks(records: Sequence[Record], share: float, seed: int) -> set[int]:
    """The seeds of the tracks that no model is trained on: at least one, `share` of all."""
    seeds = sorted({record.seed for record in records})
    count = max(1, round(share * len(seeds)))
    return set(np.random.default_rng(seed).permutation(seeds)[:count].tolist())


def marked(records: Sequence[Record], min_score: float, validation: set[int]) -> list[Record]:
    """The records with `kept` where the score is above `min_score`, and `validation` by the track."""
    return [
        replace(record, kept=record.score > min_score, validation=record.seed in validation)
        for record in records
    ]
