"""Ranks all rounds' controllers in the last round's dream and on the real track, and chooses the round whose
agent that dream likes best: `python -m stages.rank`.

The dream is made by the last round's simulators for all; each controller is watched by the RNN of its own
round, as it was on the track. Real scores choose nothing; they stand beside the dream's.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from wm import config, dream, files, metrics, model_file
from wm.controller import Snapshots
from wm.dream import FirstSight, Rules
from wm.progress import progress
from wm.rnn import RNN, Ensemble

SCORES, METRICS = Path("data/scores"), Path("metrics")


class Config(config.Section):
    seed: NonNegativeInt
    dreams: PositiveInt  # whole episodes from which a controller's dream score is taken


def main() -> None:
    settings = config.section(Config, "rank")
    environment = config.section(config.Environment, "environment")
    rounds = list(config.read()["rounds"])
    last = SCORES / rounds[-1]
    simulators = model_file.load(last / "simulators.eqx", Ensemble).members
    simulators = simulators or [model_file.load(last / "rnn.eqx", RNN)]
    rules = Rules(**files.read_json(last / "scores.json")["rules"])
    with np.load(last / "starts.npz") as stored:
        starts = FirstSight(**{part: jnp.asarray(stored[part]) for part in FirstSight._fields}).draw(
            settings.dreams, settings.seed
        )
    rows: list[dict[str, Any]] = []
    for name in progress(rounds, "ranking in the dream", len(rounds)):
        watcher = model_file.load(SCORES / name / "rnn.eqx", RNN)
        controllers = model_file.load(SCORES / name / "controllers.eqx", Snapshots).controllers
        real = files.read_json(SCORES / name / "scores.json")["controllers"]
        for i, (which, score) in enumerate(real.items()):
            one = jax.tree.map(lambda leaf, i=i: leaf[i], controllers)
            dreamt = dream.whole_episodes(
                simulators, watcher, one, *starts, rules, environment.warm_up_frames, jr.key(settings.seed)
            )
            found = round(float(dreamt.score.mean()), 2)
            rows.append({"round": name, "controller": which, "dream": found, "real": score})
    worlds = [[row[world] for row in rows] for world in ("dream", "real")]
    files.write_csv(METRICS / "ranks.csv", rows)
    files.write_json(
        METRICS / "ranks.json",
        {
            "chosen": chosen(rows),
            "controllers": len(rows),
            "rank_correlation": round(metrics.rank_correlation(*worlds), 4),
        },
    )


def chosen(rows: list[dict[str, Any]]) -> str:
    """The round whose final controller, the last of its snapshots, has the highest dream score."""
    snapshots = [row for row in rows if row["controller"].startswith("snapshot")]
    finals = {row["round"]: row["dream"] for row in snapshots}  # later rows take the place of earlier ones
    return max(finals, key=lambda name: finals[name])


if __name__ == "__main__":
    config.run(main)
