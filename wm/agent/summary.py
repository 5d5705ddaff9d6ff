"""Summaries of drives, the same for dreams and the real track, and correlations between the two."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from wm.data.episode import Episode
from wm.spec import Timing

IMPOSSIBLE = 950.0  # points; a higher mean dream score is exploitation of the dream
LOW = 600  # points; most drives below it left the road for good
DRIVEN = np.dtype(
    [
        ("seed", int),
        ("score", float),
        ("steps", int),
        ("lap_finished", bool),
        ("missed", int),
        ("failed", bool),
    ]
)  # what is kept of a real episode


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


def driven(episodes: Iterable[Episode]) -> Shaped[np.ndarray, " n"]:
    """What is kept of real episodes, `DRIVEN`, 34 bytes each. They are read one at a time."""
    return np.fromiter(map(_kept, episodes), DRIVEN)


def _kept(episode: Episode) -> tuple[Any, ...]:
    record = episode.record
    ends = episode.missed.sum(), episode.terminated[-1]
    return record.seed, record.score, record.length, record.lap_finished, *ends


def of_driven(rows: Shaped[np.ndarray, " n"], timing: Timing) -> dict[str, Any]:
    """`of_drives` of real episodes, `DRIVEN`."""
    frames = np.fromiter(map(timing.frames, rows["steps"].tolist()), int)
    return of_drives(rows["score"], frames, rows["lap_finished"], rows["missed"], rows["failed"])


def table(rows: Shaped[np.ndarray, " n"]) -> list[dict[str, Any]]:
    """A row for each real episode: its track, score, steps, lap and missed tiles."""
    return [
        {"seed": seed, "score": round(score, 2), "steps": steps, "lap_finished": lap, "missed": missed}
        for seed, score, steps, lap, missed, _ in rows.tolist()
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
