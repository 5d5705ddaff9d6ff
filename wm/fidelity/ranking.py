"""Ranking controllers in dreams, and the choice of a round by it.

All controllers are scored in the same dreams; each dream is watched by the RNN of the controller's own round,
as on real tracks. The median dream counts: simulators sometimes invent an accident that no track has, which
costs a good driver hundreds of points, so that means differ more by accidents than by skill. Real scores
choose nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from wm.agent import summary
from wm.dream.dynamics import Dream
from wm.dream.scoring import whole_episodes
from wm.dream.starts import StartFrames
from wm.models.controller import Controller
from wm.models.rnn_files import RNNs
from wm.search.selection import Estimate, equally_good, median_error


class Ranked(NamedTuple):
    """A round's RNNs, its ranked controllers side by side, and their mean real scores by name."""

    rnns: RNNs
    controllers: Controller
    real: dict[str, float]


def dream_scores(
    dream: Dream, ranked: Ranked, starts: StartFrames, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    """A row for each controller of a round: its name, its scores in the dream, its real score."""
    rows: list[dict[str, Any]] = []
    for i, (name, real) in enumerate(ranked.real.items()):
        controller = jax.tree.map(lambda leaf, i=i: leaf[i], ranked.controllers)
        scores = np.asarray(whole_episodes(dream, controller, starts, key).score)
        scored = summary.of_scores(scores)
        error = round(median_error(scores), 2)
        in_dream = {"dream": scored["median"], "dream_error": error, "dream_mean": scored["mean"]}
        rows.append({"controller": name, **in_dream, "real": real})
    return rows


def ranks(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How well dreams rank the controllers, by medians and by means, and the round that they choose."""
    medians, means, real = ([row[name] for row in rows] for name in ("dream", "dream_mean", "real"))
    return {
        "chosen": chosen(rows),
        "controllers": len(rows),
        "rank_correlation": round(summary.rank_correlation(medians, real), 4),
        "rank_correlation_of_means": round(summary.rank_correlation(means, real), 4),
    }


def chosen(rows: Sequence[dict[str, Any]]) -> str:
    """The newest round whose final controller, the last of its snapshots, is equally good as the best one.

    Of equally good rounds the newest has models that have seen the most real drives.
    """
    snapshots = [row for row in rows if row["controller"].startswith("snapshot")]
    finals = {row["round"]: row for row in snapshots}  # later rows replace earlier ones
    scores = {name: Estimate(row["dream"], row["dream_error"]) for name, row in finals.items()}
    return equally_good(scores)[-1]
