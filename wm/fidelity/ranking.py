"""Controllers of all rounds in the same dreams, and the choice of a round by it.

The RNNs of the last rounds generate the dreams, which start from the last round's validation drives.
Each dream is watched by the RNN of the controller's own round, as on real tracks. The mean dream chooses: a
fast controller that now and then leaves the road has the best median. Real scores choose nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.random as jr
import numpy as np

from wm.agent import summary
from wm.dream.dynamics import Dream
from wm.dream.results import DreamResult
from wm.dream.rules import Rules
from wm.dream.scoring import whole_episodes
from wm.dream.starts import StartFrames, read_starts
from wm.models import rnn_files
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.runtime import results
from wm.runtime.places import ROUND_METRICS, ROUND_MODELS
from wm.search.selection import Estimate, equally_good, median_error


@dataclass(frozen=True)
class CommonDreams:
    """What the dreams of all controllers have in common; `seed` is that of their random numbers."""

    simulators: list[RNN]
    rules: Rules
    warm_up_frames: int
    starts: StartFrames
    seed: int

    def score(self, watcher: RNN, controller: Controller) -> dict[str, float]:
        """The median of a controller's dreams and their mean, each with its standard error, in points."""
        dream = Dream(self.simulators, watcher, self.rules, self.warm_up_frames)
        scores = np.asarray(whole_episodes(dream, controller, self.starts, jr.key(self.seed)).score)
        scored = summary.of_scores(scores)
        error = round(median_error(scores), 2)
        mean = {"dream_mean": scored["mean"], "dream_mean_error": scored["sem"]}
        return {"dream": scored["median"], "dream_error": error, **mean}


def common_dreams(newest: Sequence[str], warm_up_frames: int, count: int, seed: int) -> CommonDreams:
    """`count` dreams that the simulators of the rounds `newest` generate in turn. Raises BadInput."""
    simulators = [
        simulator for name in newest for simulator in rnn_files.read(ROUND_MODELS / name).simulators
    ]
    scored = results.read(ROUND_METRICS / newest[-1] / "dream.json", DreamResult)
    starts = read_starts(ROUND_MODELS / newest[-1] / "starts.npz", simulators[0].latent_size)
    return CommonDreams(simulators, scored.rules, warm_up_frames, starts.draw(count, seed), seed)


def chosen(rows: Sequence[dict[str, Any]]) -> str:
    """The newest round whose final controller is equally good as the best one, by the means in ranks.csv.

    Of equally good rounds the newest has models that have seen the most real drives.
    """
    means = {row["round"]: Estimate(row["dream_mean"], row["dream_mean_error"]) for row in rows}
    return equally_good(means)[-1]


def agreement(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How well dreams rank controllers, by medians and by means, from the rows of controllers.csv."""
    medians, means, real = ([row[name] for row in rows] for name in ("dream", "dream_mean", "real"))
    return {
        "controllers": len(rows),
        "rank_correlation": round(summary.rank_correlation(medians, real), 4),
        "rank_correlation_of_means": round(summary.rank_correlation(means, real), 4),
    }
