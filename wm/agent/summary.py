"""Summaries of drives, the same for dreams and the real track, and correlations between the two."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from wm.data.episode import Episode
from wm.spec import Timing

IMPOSSIBLE = 950.0  # points; a higher mean dream score is exploitation of the dream
LOW = 600  # points; most drives below it left the road for good


def of_scores(scores: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """Mean, standard deviation (of the sample), standard error, minimum, median, maximum and n, in points."""
    scores = np.asarray(scores, float)
    std = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    numbers = {
        "mean": scores.mean(),
        "std": std,
        "sem": std / np.sqrt(len(scores)),
        "min": scores.min(),
        "median": np.median(scores),
        "max": scores.max(),
    }
    return {**{name: round(float(value), 2) for name, value in numbers.items()}, "n": len(scores)}


def of_drives(
    scores: Float[np.ndarray, " n"],
    frames: Int[np.ndarray, " n"],
    laps: Bool[np.ndarray, " n"],
    missed: Shaped[np.ndarray, " n"],
    failures: Shaped[np.ndarray, " n"],
) -> dict[str, Any]:
    """The summary of the scores, the number of laps and their mean frames (None without a lap), missed tiles
    per drive, the share of drives that failed, and the number of drives below 600 points."""
    return {
        "score": of_scores(scores),
        "laps": int(laps.sum()),
        "lap_frames": round(float(frames[laps].mean()), 1) if laps.any() else None,
        "missed": round(float(missed.mean()), 2),
        "failures": round(float(failures.mean()), 4),
        "below_600": int((scores < LOW).sum()),
    }


def of_episodes(episodes: Sequence[Episode], timing: Timing) -> dict[str, Any]:
    """`of_drives` of real episodes."""
    records = [episode.record for episode in episodes]
    return of_drives(
        np.array([record.score for record in records]),
        np.array([timing.frames(record.length) for record in records]),
        np.array([record.lap_finished for record in records]),
        np.array([episode.missed.sum() for episode in episodes]),
        np.array([episode.terminated[-1] for episode in episodes]),
    )


def table(episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """A row for each real episode: its track, score, steps, lap and missed tiles."""
    return [
        {
            "seed": episode.record.seed,
            "score": round(episode.record.score, 2),
            "steps": episode.record.length,
            "lap_finished": episode.record.lap_finished,
            "missed": int(episode.missed.sum()),
        }
        for episode in episodes
    ]


def correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Pearson's; 0 where either does not vary."""
    if np.std(a) == 0 or np.std(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's; 0 where either does not vary."""
    from scipy import stats  # takes more than a second, and workers need none of it

    return correlation(stats.rankdata(a), stats.rankdata(b))
