"""Compares dream and reality: `python -m stages fidelity`.

Of the chosen round: open-loop and closed-loop drift, and the exploitation test. Of all rounds: controllers of
all qualities, their scores in the dreams of `rank` and on real tracks, and the rank correlation of the two.
"""

from typing import NamedTuple

import jax
import jax.random as jr
import numpy as np

from wm.agent.exploration import exploration
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream.dynamics import Dream
from wm.dream.results import DreamResult
from wm.fidelity import closed_loop, continuations, controllers, plans, ranking
from wm.fidelity.controllers import RoundControllers
from wm.fidelity.drift import mean_drift
from wm.models import rnn_files
from wm.models.controller import Controller
from wm.params.model import Params
from wm.runtime import files, model_file, results, scratch, workers
from wm.runtime.places import LATENTS, METRICS, ROUND_METRICS, ROUND_MODELS
from wm.runtime.progress import Progress, progress
from wm.runtime.workers import Pool


class Chosen(NamedTuple):
    """What the stage reads of the chosen round; `unseen` are the validation drives that its agent made."""

    shards: Shards
    unseen: list[Record]
    dream: Dream
    controller: Controller


def main(params: Params) -> None:
    settings, rank, timing = params.fidelity, params.rank, params.environment.timing
    name = results.chosen_round(params.rounds)
    chosen = read(name, timing.warm_up_frames)
    rounds = read_controllers(params)
    newest = list(params.rounds)[-rank.simulator_rounds :]
    dreams = ranking.common_dreams(newest, timing.warm_up_frames, rank.dreams_per_controller, rank.seed)
    drift_key, plan_key, _, closed_key = keys(params, name)
    long = plans.longer_than(settings.plan_steps, chosen.unseen, chosen.shards)
    own = continuations.own_records(chosen.shards, name, own_tracks(params, name), settings.plan_steps)
    drift = mean_drift(chosen.dream.simulators, chosen.shards, chosen.unseen, drift_key)
    moments = plans.sample_moments(chosen.shards, long, settings.plans, settings.plan_steps, settings.seed)
    made, promised = plans.make_plans(chosen.dream, chosen.controller, moments, settings.plan_steps, plan_key)
    with workers.pool(params.compute.scheduler, params.compute.workers) as pool:
        replays = list(progress(plans.replay_all(made, timing, pool), "exploitation test", len(made)))
        drives = continuations.read_labelled(chosen.shards, own, timing, pool)
        real = real_scores(params, rounds, pool)
    compared = closed_loop.compare(drives, chosen.dream, chosen.controller, settings.plan_steps, closed_key)
    closed = closed_loop.rows(compared, window=settings.window_steps, timing=timing, seed=settings.seed)
    table = plans.windows(promised, replays, window=settings.window_steps, timing=timing)
    rows = [
        {"round": each, "controller": key, **dreams.score(models.watcher, controller)}
        for each, models in progress(rounds.items(), "controllers in dreams", len(rounds))
        for key, controller in models.controllers.items()
    ]
    rows = [row | {"real": score} for row, score in zip(rows, real, strict=True)]
    files.write_csv(METRICS / "exploitation.csv", table)
    files.write_csv(METRICS / "closed_loop.csv", closed)
    files.write_csv(METRICS / "controllers.csv", rows)
    exploitation = {key: value for key, value in table[-1].items() if key != "steps"}
    measured = {"drift": drift, "exploitation": exploitation, "probes": compared.explained}
    files.write_json(METRICS / "fidelity.json", measured | ranking.agreement(rows))


def read(round_name: str, warm_up_frames: int) -> Chosen:
    """The chosen round's dream and drives. Raises BadInput, also for files that do not fit together."""
    folder, shards = ROUND_MODELS / round_name, Shards(LATENTS / round_name)
    rnns = rnn_files.read(folder)
    shards.expect_latents(rnns.own.latent_size)
    unseen = [r for r in shards.kept(validation=True) if r.source == round_name and not r.mirrored]
    scored = results.read(ROUND_METRICS / round_name / "dream.json", DreamResult)
    dream = Dream(rnns.simulators, rnns.own, scored.rules, warm_up_frames)
    return Chosen(shards, unseen, dream, model_file.load(folder / "controller.eqx", Controller))


def keys(params: Params, round_name: str) -> jax.Array:
    """The keys of a round's drift, plans, parameter noise and closed-loop dreams."""
    key = jr.fold_in(jr.key(params.fidelity.seed), len(params.rounds_until(round_name)))
    return jr.split(key, 4)


def own_tracks(params: Params, round_name: str) -> list[int]:
    """The tracks that the round's agent drove without action noise; its models were trained on none."""
    settings = params.explore
    first = settings.first_track(len(params.rounds_until(round_name)))
    drives = exploration(first, settings.episodes, settings.action_noise)
    return [drive.seed for drive in drives if drive.is_agents_own]


def read_controllers(params: Params) -> dict[str, RoundControllers]:
    """The controllers of all rounds. Raises BadInput."""
    settings = params.fidelity
    return {
        name: controllers.read(name, settings.snapshots, settings.noise_scales, keys(params, name)[2])
        for name in params.rounds
    }


def real_scores(params: Params, rounds: dict[str, RoundControllers], pool: Pool) -> list[float]:
    """The mean scores of the controllers, all on the same real tracks."""
    settings, timing = params.fidelity, params.environment.timing
    seeds = range(settings.seed, settings.seed + settings.tracks)
    shown = Progress("controllers on real tracks", len(seeds) * sum(map(len, rounds.values())))
    with scratch.folder("fidelity", settings.model_dump(), [], resumes=False) as folder:
        episodes = (
            episode
            for name, models in rounds.items()
            for episode in models.drive(pool, folder / f"{name}.eqx", seeds, timing, shown.drove)
        )
        scores = [episode.record.score for episode in shown.over(episodes, timing.frames_of)]
    return np.reshape(scores, (-1, settings.tracks)).mean(axis=1).round(2).tolist()
