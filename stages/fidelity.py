"""Compares a round's dream with reality: `python -m stages fidelity ROUND`.

Writes the open-loop drift, the exploitation test by window, and for `rank` controllers of all qualities with
their scores on real tracks and the start frames of validation drives.
"""

from pathlib import Path
from typing import NamedTuple

import jax.random as jr
import numpy as np

from wm import errors
from wm.agent import driving
from wm.agent.agent import AgentFiles
from wm.agent.driving import Drive
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream.dynamics import Dream
from wm.dream.results import DreamResult
from wm.dream.starts import unseen_starts
from wm.errors import BadInput
from wm.fidelity import plans
from wm.fidelity.controllers import of_all_qualities
from wm.fidelity.drift import mean_drift
from wm.models import controller, rnn_files
from wm.models.controller import Controller, Snapshots
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.runtime import files, model_file, results
from wm.runtime.places import LATENTS, ROUND_METRICS, ROUND_MODELS, VAE_MODEL
from wm.runtime.progress import Progress, progress
from wm.runtime.workers import Where


class FidelityInputs(NamedTuple):
    """What the stage reads; `unseen` are the validation drives that the round's agent made."""

    shards: Shards
    unseen: list[Record]
    dream: Dream
    controller: Controller
    snapshots: Snapshots


def main(params: Params, round_name: str) -> None:
    settings, timing = params.fidelity, params.environment.timing
    folder, metrics = ROUND_MODELS / round_name, ROUND_METRICS / round_name
    key = jr.fold_in(jr.key(settings.seed), len(params.rounds_until(round_name)))
    drift_key, plan_key, noise_key = jr.split(key, 3)
    shards, unseen, dream, last, snapshots = read(round_name, timing.warm_up_frames)
    long = longer_than(settings.plan_steps, unseen, shards.folder)

    drift = mean_drift(dream.simulators, shards, unseen, drift_key)
    moments = plans.sample_moments(shards, long, settings.plans, settings.plan_steps, settings.seed)
    made, promised = plans.make_plans(dream, last, moments, settings.plan_steps, plan_key)
    replays = plans.replay_all(made, timing, Where(params.compute.scheduler, params.compute.workers))
    table = plans.windows(
        promised,
        list(progress(replays, "exploitation test", len(made))),
        window=settings.window_steps,
        timing=timing,
    )
    ranked = of_all_qualities(last, snapshots, settings.snapshots, settings.noise_scales, noise_key)
    model_file.save(folder / "ranked.eqx", controller.snapshots(list(ranked.values())))
    real = real_scores(params, round_name, len(ranked))

    files.write_csv(metrics / "exploitation.csv", table)
    exploitation = {name: value for name, value in table[-1].items() if name != "steps"}
    files.write_json(metrics / "fidelity.json", {"drift": drift, "exploitation": exploitation})
    files.write_json(metrics / "ranked.json", {"real": dict(zip(ranked, real, strict=True))})
    with files.replacing(folder / "starts.npz") as unfinished, unfinished.open("wb") as file:
        np.savez(file, **unseen_starts(shards)._asdict())


def read(round_name: str, warm_up_frames: int) -> FidelityInputs:
    """The inputs. Raises BadInput, also for files that do not fit together."""
    folder, shards = ROUND_MODELS / round_name, Shards(LATENTS / round_name)
    rnns = rnn_files.read(folder)
    last = model_file.load(folder / "controller.eqx", Controller)
    snapshots = model_file.load(folder / "snapshots.eqx", Snapshots)
    agent_files(round_name, "snapshots.eqx").load()  # checks that they fit together
    shards.expect_latents(rnns.own.latent_size)
    unseen = [r for r in shards.kept(validation=True) if r.source == round_name and not r.mirrored]
    scored = results.read(ROUND_METRICS / round_name / "dream.json", DreamResult)
    dream = Dream(rnns.simulators, rnns.own, scored.rules, warm_up_frames)
    return FidelityInputs(shards, unseen, dream, last, snapshots)


def agent_files(round_name: str, snapshots: str) -> AgentFiles:
    """The model files of the round's agent with controllers to choose from."""
    folder = ROUND_MODELS / round_name
    return AgentFiles(VAE_MODEL, folder / "rnn.eqx", folder / "controller.eqx", folder / snapshots)


def longer_than(steps: int, records: list[Record], folder: Path) -> list[Record]:
    """The drives with more than `steps` steps. Raises BadInput if there is none."""
    long = [record for record in records if record.length > steps]
    if not long:
        lengths = errors.listed(sorted((record.length for record in records), reverse=True)[:20]) or "none"
        place = f"{PARAMS}: fidelity.plan_steps: found {steps}"
        raise BadInput(f"{place}, expected less than the length of a drive in {folder}; they have {lengths}")
    return long


def real_scores(params: Params, round_name: str, count: int) -> list[float]:
    """The mean scores of the ranked controllers, all on the same real tracks."""
    settings = params.fidelity
    seeds = range(settings.seed, settings.seed + settings.tracks)
    drives = [Drive(seed, snapshot=float(place)) for place in np.linspace(0, 1, count) for seed in seeds]
    agent = agent_files(round_name, "ranked.eqx")
    where = Where(params.compute.scheduler, params.compute.workers)
    shown = Progress("ranking on real tracks", len(drives))
    timing = params.environment.timing
    episodes = driving.drive_all(agent, drives, timing, round_name, where, shown.drove)
    scores = [episode.record.score for episode in shown.over(episodes)]
    return np.reshape(scores, (count, len(seeds))).mean(axis=1).round(2).tolist()
