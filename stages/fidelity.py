"""The dream of a round held against reality, once both are there: `python -m stages fidelity r0`.

Writes the open-loop drift, the exploitation test by window, and for `rank` controllers of all qualities with
their scores on real tracks and the first frames of validation drives, from which dreams start.
"""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from wm import errors
from wm.agent import driving
from wm.agent.agent import AgentFiles
from wm.agent.driving import Drive
from wm.data.batches import longest, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream.drift import drift as open_loop_drift
from wm.dream.dynamics import Simulation
from wm.dream.starts import unseen_starts
from wm.errors import BadInput
from wm.fidelity import plans as fidelity
from wm.models import controller, rnn
from wm.models.controller import Controller, Snapshots
from wm.models.rnn import RNN, Ensemble
from wm.params.compute import Compute
from wm.params.environment import Environment
from wm.params.fidelity import Fidelity
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.runtime import files, model_file, places, results, workers
from wm.runtime.progress import progress

LATENTS, MODELS, METRICS = places.LATENTS, places.ROUND_MODELS, places.ROUND_METRICS
DRIFT_WARM, DRIFT_STEPS = 40, (5, 20, 50, 100)  # real steps before, and dreamt steps after which


def main(params: Params, round_name: str) -> None:
    settings = params.fidelity
    environment = params.environment
    compute = params.compute
    key = jr.fold_in(jr.key(settings.seed), len(params.rounds_until(round_name)))
    drift_key, plan_key, noise_key = jr.split(key, 3)
    folder, shards = MODELS / round_name, Shards(LATENTS / round_name)
    watcher = model_file.load(folder / "rnn.eqx", RNN)
    ensemble = model_file.load(folder / "simulators.eqx", Ensemble)
    simulators = ensemble.members or [watcher]
    last = model_file.load(folder / "controller.eqx", Controller)
    snapshots = model_file.load(folder / "snapshots.eqx", Snapshots)
    names = ("rnn.eqx", "controller.eqx", "snapshots.eqx")
    AgentFiles(places.VAE_MODEL, *(folder / name for name in names)).load()  # whether they fit together
    model_file.check_sizes(folder / "simulators.eqx", ensemble.stacked, watcher)
    shards.expect_latents(watcher.latent_size)
    unseen = [r for r in shards.kept(validation=True) if r.source == round_name and not r.mirrored]
    long = long_enough(unseen, settings, shards)
    dreamt, _ = results.read(METRICS / round_name / "dream.json", results.Dream)
    rules = dreamt.rules

    drifts = drift(simulators, shards, unseen, drift_key)
    table = exploitation(
        simulators, watcher, last, shards, long, settings, environment, compute, rules, plan_key
    )
    ranked = candidates(last, snapshots, settings, noise_key)
    real = on_the_track(ranked, folder, settings, environment, compute, round_name)

    home = METRICS / round_name
    files.write_csv(home / "exploitation.csv", table)
    promise = {name: value for name, value in table[-1].items() if name != "steps"}
    files.write_json(home / "fidelity.json", {"drift": drifts, "exploitation": promise})
    files.write_json(home / "ranked.json", {"real": real})
    with files.replacing(folder / "starts.npz") as unfinished, unfinished.open("wb") as file:
        np.savez(file, **unseen_starts(shards)._asdict())


def drift(simulators: list[RNN], shards: Shards, records: list[Record], key: jax.Array) -> dict[str, float]:
    """Root mean square error of the open-loop dream by steps dreamt, the mean over the simulators: of
    the latents (all dimensions together), and of the sum of rewards in points."""
    length = max(longest(records), DRIFT_WARM + max(DRIFT_STEPS))
    batch = rnn.to_batch(stacked(shards, records, length))
    measure = eqx.filter_jit(open_loop_drift)
    found = [measure(one, batch, key, warm=DRIFT_WARM, steps=max(DRIFT_STEPS)) for one in simulators]
    latents, rewards = (np.mean(values, axis=0) for values in zip(*found, strict=True))
    named = {"latent": latents, "reward": rewards}
    return {f"{name}_{n}": round(float(v[n - 1]), 4) for name, v in named.items() for n in DRIFT_STEPS}


def long_enough(records: list[Record], settings: Fidelity, shards: Shards) -> list[Record]:
    """The drives in which a plan has room. Raises BadInput where there is none."""
    long = [record for record in records if record.length > settings.plan_steps]
    if not long:
        lengths = errors.listed(sorted((record.length for record in records), reverse=True)[:20]) or "none"
        place = f"{PARAMS}: fidelity.plan_steps: found {settings.plan_steps}"
        raise BadInput(f"{place}, wanted less than a drive in {shards.folder} has; they have {lengths}")
    return long


def exploitation(
    simulators: list[RNN],
    watcher: RNN,
    last: Controller,
    shards: Shards,
    records: list[Record],
    settings: Fidelity,
    environment: Environment,
    compute: Compute,
    rules: results.Rules,
    key: jax.Array,
) -> list[dict[str, Any]]:
    """What dreams from moments of unseen drives promise, and what the same actions bring, by window."""
    rng = np.random.default_rng(settings.seed)
    drawn = [records[i] for i in rng.integers(len(records), size=settings.plans)]
    times = np.array([rng.integers(record.length - settings.plan_steps) for record in drawn])
    batch = rnn.to_batch(stacked(shards, drawn, longest(drawn)))
    plans, promised = [], []
    for i, simulator in enumerate(simulators):
        turn = slice(i, None, len(simulators))
        share = jax.tree.map(lambda leaf, turn=turn: leaf[turn], batch)
        found = fidelity.plan(
            Simulation(simulator, watcher, rules),
            last,
            share,
            times[turn],
            jr.fold_in(key, i),
            steps=settings.plan_steps,
        )
        promised.append(found.reward)
        plans += [
            fidelity.Plan(record.seed, np.asarray(before[:time]), actions)
            for record, before, time, actions in zip(
                drawn[turn], share.action, times[turn], found.action, strict=True
            )
        ]
    with workers.pool(compute.scheduler, compute.workers) as pool:
        running = workers.ordered(pool, carry_out, [(plan, environment) for plan in plans])
        carried = list(progress(running, "exploitation test", len(plans)))
    window, repeat = settings.window_steps, environment.action_repeat
    return fidelity.windows(np.concatenate(promised), carried, window=window, action_repeat=repeat)


def carry_out(task: tuple[fidelity.Plan, Environment]) -> fidelity.Carried:
    return fidelity.carry_out(*task)


def candidates(
    last: Controller, snapshots: Snapshots, settings: Fidelity, key: jax.Array
) -> dict[str, Controller]:
    """Controllers of all qualities, by name."""
    chosen: dict[str, Controller] = {}
    for i in np.geomspace(1, snapshots.count - 1, settings.snapshots).round().astype(int).tolist():
        chosen[f"snapshot_{i}"] = jax.tree.map(lambda leaf, i=i: leaf[i], snapshots.controllers)
    for i, scale in enumerate(settings.noise_scales):
        chosen[f"noise_{scale}"] = fidelity.perturbed(last, scale, jr.fold_in(key, i))
    return chosen


def on_the_track(
    ranked: dict[str, Controller],
    folder: Path,
    settings: Fidelity,
    environment: Environment,
    compute: Compute,
    source: str,
) -> dict[str, float]:
    """Each controller's mean score on the same real tracks."""
    seeds = range(settings.seed, settings.seed + settings.tracks)
    shares = np.linspace(0, 1, len(ranked))
    drives = [Drive(seed, snapshot=float(share)) for share in shares for seed in seeds]
    snapshots = folder / "ranked.eqx"
    model_file.save(snapshots, controller.snapshots(list(ranked.values())))
    models = AgentFiles(places.VAE_MODEL, folder / "rnn.eqx", folder / "controller.eqx", snapshots)
    running = driving.drive_all(models, drives, environment, source, compute)
    found = [e.record.score for e in progress(running, "ranking on the track", len(drives))]
    means = np.reshape(found, (len(ranked), settings.tracks)).mean(axis=1)
    return dict(zip(ranked, means.round(2).tolist(), strict=True))
