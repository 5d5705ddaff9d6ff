"""Ranks all rounds' controllers in the last round's dream and on the real track, and chooses the newest round
whose agent that dream cannot tell from the one it likes best: `python -m stages.rank`.

The dream is made by the last round's simulators for all; each controller is watched by the RNN of its own
round, as it was on the track. Real scores choose nothing; they stand beside the dream's.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.random as jr
import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from wm import config, dream, files, metrics, model_file, scores
from wm.controller import Controller, Snapshots
from wm.dream import Rules
from wm.progress import progress
from wm.rnn import RNN, Ensemble
from wm.scores import Scores

SCORES, METRICS = Path("data/scores"), Path("metrics")


class Config(config.Section):
    seed: NonNegativeInt
    dreams: PositiveInt  # whole episodes from which a controller's dream score is taken


class Standing(NamedTuple):
    """What a round left: its own RNN, its simulators, its controllers side by side, its scores."""

    watcher: RNN
    simulators: list[RNN]
    controllers: Controller
    scores: Scores


def standing(folder: Path) -> Standing:
    """What lies in the folder. Raises BadInput, for parts that do not fit together, too."""
    watcher = model_file.load(folder / "rnn.eqx", RNN)
    ensemble = model_file.load(folder / "simulators.eqx", Ensemble)
    model_file.check_sizes(folder / "simulators.eqx", ensemble.stacked, watcher)
    ranked = model_file.load(folder / "controllers.eqx", Snapshots)
    seen = watcher.latent_size + watcher.hidden_size
    model_file.check(folder / "controllers.eqx", "features", ranked.controllers.weight.shape[-1], seen)
    found, _ = scores.read(folder / "scores.json", Scores)
    model_file.check(folder / "controllers.eqx", "count", ranked.count, len(found.controllers))
    return Standing(watcher, ensemble.members or [watcher], ranked.controllers, found)


def main() -> None:
    settings = config.section(Config, "rank")
    environment = config.section(config.Environment, "environment")
    rounds = list(config.read()["rounds"])
    last = SCORES / rounds[-1]
    stood = {name: standing(SCORES / name) for name in rounds}
    simulators = stood[rounds[-1]].simulators
    rules = Rules(**stood[rounds[-1]].scores.rules.model_dump())
    starts = dream.read_starts(last / "starts.npz", simulators[0].latent_size)
    starts = starts.draw(settings.dreams, settings.seed)
    rows: list[dict[str, Any]] = []
    for name in progress(rounds, "ranking in the dream", len(rounds)):
        watcher, controllers = stood[name].watcher, stood[name].controllers
        for i, (which, score) in enumerate(stood[name].scores.controllers.items()):
            one = jax.tree.map(lambda leaf, i=i: leaf[i], controllers)
            dreamt = dream.whole_episodes(
                simulators, watcher, one, *starts, rules, environment.warm_up_frames, jr.key(settings.seed)
            )
            found = metrics.summary(np.asarray(dreamt.score))
            dreamed = {"dream": found["mean"], "dream_sem": found["sem"], "dream_median": found["median"]}
            rows.append({"round": name, "controller": which, **dreamed, "real": score})
    files.write_csv(METRICS / "ranks.csv", rows)
    files.write_json(METRICS / "ranks.json", figures(rows))


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How well the dream ranks the controllers, by its means and by its medians, and the round it chooses."""
    means, medians, real = ([row[name] for row in rows] for name in ("dream", "dream_median", "real"))
    return {
        "chosen": chosen(rows),
        "controllers": len(rows),
        "rank_correlation": round(metrics.rank_correlation(means, real), 4),
        # rare losses of a good driver leave a median as it is
        "rank_correlation_of_medians": round(metrics.rank_correlation(medians, real), 4),
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
    return [name for name, row in finals.items() if row["dream"] >= best["dream"] - best["dream_sem"]][-1]


if __name__ == "__main__":
    config.run_stage(main, *sys.argv[1:])
