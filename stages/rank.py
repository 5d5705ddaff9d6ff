"""Ranks all rounds' controllers in dreams and on the real track, and chooses the newest round whose agent the
dreams cannot tell from the one they like best: `python -m stages rank`.

The dreams are the same for all, made in turn by the simulators of the last rounds; each controller is
watched by the RNN of its own round, as it was on the track. What counts is the median dream: now and then a
simulator dreams up a mishap that no track has, which costs a good driver hundreds of points, and the mean
more than what sets two good drivers apart. Real scores choose nothing; they stand beside the dreams'.
"""

from typing import Any, NamedTuple

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Float

from wm.agent import summary
from wm.dream.dynamics import Dream
from wm.dream.scoring import whole_episodes
from wm.dream.starts import read_starts
from wm.models.controller import Controller, Snapshots
from wm.models.rnn import RNN, Ensemble
from wm.params.model import Params
from wm.runtime import files, model_file, results
from wm.runtime.places import METRICS, ROUND_METRICS, ROUND_MODELS
from wm.runtime.progress import progress


class Standing(NamedTuple):
    """What a round left: its own RNN, its simulators, its controllers side by side, and their real scores."""

    watcher: RNN
    simulators: list[RNN]
    controllers: Controller
    real: dict[str, float]


def standing(name: str) -> Standing:
    """What the round left. Raises BadInput, for parts that do not fit together, too."""
    folder = ROUND_MODELS / name
    watcher = model_file.load(folder / "rnn.eqx", RNN)
    ensemble = model_file.load(folder / "simulators.eqx", Ensemble)
    model_file.check_sizes(folder / "simulators.eqx", ensemble.stacked, watcher)
    ranked = model_file.load(folder / "ranked.eqx", Snapshots)
    seen = watcher.latent_size + watcher.hidden_size
    model_file.check(folder / "ranked.eqx", "features", ranked.controllers.weight.shape[-1], seen)
    found, _ = results.read(ROUND_METRICS / name / "ranked.json", results.Ranked)
    model_file.check(folder / "ranked.eqx", "count", ranked.count, len(found.real))
    return Standing(watcher, ensemble.members or [watcher], ranked.controllers, found.real)


def main(params: Params) -> None:
    settings = params.rank
    environment = params.environment
    rounds = list(params.rounds)
    last = rounds[-1]
    stood = {name: standing(name) for name in rounds}
    simulators = [one for name in rounds[-settings.simulator_rounds :] for one in stood[name].simulators]
    # all that makes dreams hard is left in: a good driver and a fair one are told apart by it
    scored, _ = results.read(ROUND_METRICS / last / "dream.json", results.Dream)
    rules = scored.rules.replace(sampling="sampled", encoder_variance=())
    starts = read_starts(ROUND_MODELS / last / "starts.npz", simulators[0].latent_size)
    starts = starts.draw(settings.dreams_per_controller, settings.seed)
    rows: list[dict[str, Any]] = []
    for name in progress(rounds, "ranking in the dream", len(rounds)):
        watcher, controllers = stood[name].watcher, stood[name].controllers
        for i, (which, score) in enumerate(stood[name].real.items()):
            one = jax.tree.map(lambda leaf, i=i: leaf[i], controllers)
            dream = Dream(simulators, watcher, rules, environment.warm_up_frames)
            dreamt = whole_episodes(dream, one, starts, jr.key(settings.seed))
            found = summary.of_scores(np.asarray(dreamt.score))
            error = round(median_error(np.asarray(dreamt.score)), 2)
            dreamed = {"dream": found["median"], "dream_error": error, "dream_mean": found["mean"]}
            rows.append({"round": name, "controller": which, **dreamed, "real": score})
    files.write_csv(METRICS / "ranks.csv", rows)
    files.write_json(METRICS / "ranks.json", figures(rows))


def median_error(scores: Float[np.ndarray, " n"]) -> float:
    """The median's standard error, whatever the distribution.

    Half the distance between the quantiles that enclose the true median as often as one standard error either
    way encloses a mean: how many of n scores lie below it is binomial, n / 2 +- sqrt(n) / 2.
    """
    share = 0.5 / np.sqrt(len(scores))
    low, high = np.quantile(scores, (0.5 - share, 0.5 + share))
    return float(high - low) / 2


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How well the dreams rank the controllers, by medians and by means, and the round they choose."""
    medians, means, real = ([row[name] for row in rows] for name in ("dream", "dream_mean", "real"))
    return {
        "chosen": chosen(rows),
        "controllers": len(rows),
        "rank_correlation": round(summary.rank_correlation(medians, real), 4),
        "rank_correlation_of_means": round(summary.rank_correlation(means, real), 4),
    }


def chosen(rows: list[dict[str, Any]]) -> str:
    """The newest round whose final controller, the last of its snapshots, has a dream score within a standard
    error of the best one's.

    Source: the one-standard-error rule of Breiman, Friedman, Olshen and Stone, Classification and Regression
    Trees (1984), which prefers the simplest; here the newest, whose models have seen the most real drives.
    """
    snapshots = [row for row in rows if row["controller"].startswith("snapshot")]
    finals = {row["round"]: row for row in snapshots}  # later rows take the place of earlier ones
    best = max(finals.values(), key=lambda row: row["dream"])
    return [name for name, row in finals.items() if row["dream"] >= best["dream"] - best["dream_error"]][-1]
