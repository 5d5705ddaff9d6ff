"""Trains the RNNs of a round, starting from those of PREV: `python -m stages train_rnn ROUND PREV`.

The agent's own RNN and the others are trained side by side, each on batches of its own.
"""

from functools import partial
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from wm.data.batches import draw, longest
from wm.data.cached import CachedShards
from wm.dream.open_loop import WARM_STEPS, drift
from wm.models import fit, rnn, rnn_data, rnn_files
from wm.models.fit import Loss, Training, Validation
from wm.models.rnn import RNN, Batch, LossWeights
from wm.models.rnn_data import BatchShape, WindowBatches
from wm.models.rnn_files import RNNs
from wm.params.model import Params
from wm.params.train_rnn import TrainRNN
from wm.runtime import devices, files, places, scratch
from wm.runtime.checkpoint import Checkpoints

LATENTS, MODELS, METRICS = places.LATENTS, places.ROUND_MODELS, places.ROUND_METRICS
DRIFT_STEPS = (5, 20, 50)  # dreamt steps after which the drift is measured
VALIDATION_BATCH = 16  # whole drives
VALIDATION_NEWEST_SHARE = 0.5  # of the drives that the validation loss averages over


def main(params: Params, round_name: str, prev: str) -> None:
    devices.join(params.hosts.launcher)
    settings, stage = params.train_rnn, f"train_rnn {round_name}"
    rounds = params.rounds_until(prev)[::-1]  # newest first
    paths = [LATENTS / prev, *rnn_files.paths(MODELS / prev)]
    shards, rnns = CachedShards(LATENTS / prev), rnn_files.read(MODELS / prev)
    shards.expect_latents(rnns.own.latent_size)
    simulators = {f"simulator_{i}": model for i, model in enumerate(rnns.ensemble.members)}
    models = {"rnn": rnns.own} | simulators
    weights = LossWeights(settings.reward_weight, settings.missed_tile_weight, settings.done_weight)
    loss = partial(rnn.loss, weights=weights)
    steps, learning_rate = settings.schedule(first=not rounds)
    records = shards.kept(validation=False)
    precision = devices.precision(settings.precision)
    shape = BatchShape(*settings.batch(first=not rounds))
    batcher = rnn_data.batcher(shards, records, shape.steps)
    validation = validation_batches(shards, settings, rounds)
    check = eqx.filter_jit(partial(validate, loss=partial(loss, dropout=0.0)))
    with scratch.folder(stage, settings.model_dump(), paths) as unfinished:
        devices.share(unfinished)

        def train(number: int, name: str, stop: Event) -> tuple[RNN, list[dict[str, Any]]]:
            key = jr.fold_in(jr.fold_in(jr.key(settings.seed), len(rounds)), number)
            fit_key, check_key = jr.split(key)
            seed = [settings.seed, len(rounds), number]
            windows = WindowBatches(batcher, records, rounds, settings.newest_share, shape, seed)
            training = Training(
                rnn.with_rounded_weights(partial(loss, dropout=settings.dropout), precision),
                lambda done: takewhile(lambda _: not stop.is_set(), windows.draw(steps, done)),
                steps,
                learning_rate,
                settings.gradient_clip,
            )
            metrics = partial(fit.mean_metrics, check, batches=validation, key=check_key)
            return fit.train(
                models[name],
                training,
                Validation(metrics, settings.log_every),
                Checkpoints(unfinished / name),
                key=fit_key,
                label=f"{stage} {name}",
            )

        trainings = [partial(train, number, name) for number, name in enumerate(models)]
        trained, curves = zip(*fit.in_threads(trainings), strict=True)
        ensemble = rnns.ensemble.with_members(list(trained[1:]))
        RNNs(trained[0], ensemble).save(MODELS / round_name)
        report(dict(zip(models, curves, strict=True)), METRICS / round_name)


def validation_batches(shards: CachedShards, settings: TrainRNN, rounds: list[str]) -> list[Batch]:
    """Batches of drives on validation tracks, the same at every check, long enough to measure the drift."""
    records = shards.kept(validation=True)
    length = max(longest(records), WARM_STEPS + max(DRIFT_STEPS))
    rng = np.random.default_rng(settings.seed)
    drawn = draw(records, rounds, VALIDATION_NEWEST_SHARE, settings.validation_episodes, rng)
    parts = [drawn[i : i + VALIDATION_BATCH] for i in range(0, len(drawn), VALIDATION_BATCH)]
    return [rnn_data.read_padded(shards, length, part) for part in parts]


def validate(model: RNN, batch: Batch, key: PRNGKeyArray, *, loss: Loss) -> dict[str, jax.Array]:
    """The loss's metrics, and the open-loop drift of latents and rewards."""
    _, metrics = loss(model, batch, key)
    errors = drift(model, batch, key, warm=WARM_STEPS, steps=max(DRIFT_STEPS))
    for name, values in zip(("latent_drift", "reward_drift"), errors, strict=True):
        metrics |= {f"{name}_{steps}": values[steps - 1] for steps in DRIFT_STEPS}
    return metrics


def report(curves: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """Writes each model's last metrics, and all curves side by side, the agent's own without a prefix."""
    last = {
        name: {key: round(value, 4) for key, value in curve[-1].items() if key != "step"}
        for name, curve in curves.items()
    }
    files.write_json(folder / "train_rnn.json", last)
    table = [dict(row) for row in curves["rnn"]]
    for name, curve in curves.items():
        if name != "rnn":
            for row, metrics in zip(table, curve, strict=True):
                row |= {f"{name}_{key}": value for key, value in metrics.items() if key != "step"}
    files.write_csv(folder / "train_rnn.csv", table)
