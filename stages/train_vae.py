"""Trains the VAE on the scripted drivers' frames: `python -m stages train_vae`."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from wm.data import resident
from wm.data.batches import frame_batches, longest, shuffled
from wm.data.episode import Record
from wm.data.shards import FRAME_BYTES, Shards
from wm.models import fit, vae
from wm.models.vae import VAE
from wm.params.model import Params
from wm.params.rounds import INIT
from wm.params.train_vae import TrainVAE
from wm.runtime import devices, files, model_file, scratch
from wm.runtime.checkpoint import Checkpoints
from wm.runtime.places import METRICS, PROCESSED, VAE_MODEL
from wm.viewer import pictures

DATA = PROCESSED / INIT
ACTIVE_VARIANCE = 0.01  # of mu over frames, from which on a latent dimension counts as used


def main(params: Params) -> None:
    devices.join(params.hosts)
    settings = params.train_vae
    shards = Shards(DATA)
    shards.expect_frames()
    validation = validation_frames(shards, settings)
    init_key, fit_key, check_key = jr.split(jr.key(settings.seed), 3)
    model = VAE(
        latent_size=settings.latent_size,
        widths=settings.widths,
        tones=settings.tone_curve,
        key=init_key,
    )
    loss = partial(vae.loss, kl_weight=settings.kl_weight)
    with scratch.folder("train_vae", settings.model_dump(), [DATA]) as unfinished:
        devices.share(unfinished)
        model, curve = fit.train(
            model,
            loss,
            partial(batches, shards, settings),
            fit.adam(settings.learning_rate, settings.steps, settings.gradient_clip),
            key=fit_key,
            steps=settings.steps,
            check=lambda model: validate(model, loss, validation, check_key),
            check_every=settings.log_every,
            checkpoints=Checkpoints(unfinished / "vae"),
            label="train_vae",
        )
        model_file.save(VAE_MODEL, model)
        report(model, validation, curve)


def batches(shards: Shards, settings: TrainVAE, done: int) -> Iterator[Any]:
    """Batches of training frames, without the `done` first ones."""
    records = shards.kept(validation=False)
    fits = resident.fits(sum(record.length for record in records) * FRAME_BYTES)
    made = batches_picked if fits else batches_read
    return made(shards, records, settings, done)


def batches_read(
    shards: Shards, records: list[Record], settings: TrainVAE, done: int
) -> Iterator[np.ndarray]:
    """Batches of frames read from shards, the `done` first ones as well."""
    endless = frame_batches(shards, records, **order(settings))
    return islice(endless, done, settings.steps)


def batches_picked(
    shards: Shards, records: list[Record], settings: TrainVAE, done: int
) -> Iterator[jax.Array]:
    """The same batches, picked on the device, which keeps the frames of all the episodes one after the
    other, and behind them room for one more."""
    longest_one, ends = longest(records), np.cumsum([record.length for record in records]).tolist()

    def pieces() -> Iterator[tuple[int, np.ndarray]]:
        for record, end in zip(records, ends, strict=True):
            piece = np.zeros((longest_one, 64, 64, 3), np.uint8)  # the next one overwrites what is left empty
            piece[: record.length] = shards.read(record).observations["frame"]
            yield end - record.length, piece

    frames = resident.kept(pieces(), len(records), ends[-1] + longest_one)
    rows = shuffled(
        lambda number: np.arange(ends[number] - records[number].length, ends[number]),
        len(records),
        **order(settings),
    )
    return (resident.picked(frames, some) for some in islice(rows, done, settings.steps))


def order(settings: TrainVAE) -> dict[str, int]:
    """What the order of the frames depends on."""
    return {
        "batch_size": settings.batch_size,
        "buffer_episodes": settings.shuffle_buffer_episodes,
        "seed": settings.seed,
    }


def validation_frames(shards: Shards, settings: TrainVAE) -> list[np.ndarray]:
    """The same batches of unseen tracks' frames at every check."""
    records: list[Record] = shards.kept(validation=True)
    batches = frame_batches(
        shards, records, batch_size=settings.batch_size, buffer_episodes=64, seed=settings.seed
    )
    return list(islice(batches, settings.validation_batches))


@eqx.filter_jit
def evaluate(model: VAE, loss, frames, key) -> dict[str, jax.Array]:
    return loss(model, frames, key)[1]


def validate(model: VAE, loss, batches: list[np.ndarray], key) -> dict[str, float]:
    """The loss's metrics, means over the batches."""
    found = [evaluate(model, loss, frames, jr.fold_in(key, i)) for i, frames in enumerate(batches)]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def report(model: VAE, validation: list[np.ndarray], curve: list[dict[str, float]]) -> None:
    """The last figures, the curve, and frames beside their reconstructions, in the tones that V sees."""
    means = np.concatenate([np.asarray(vae.encode(model, jnp.asarray(frames))[0]) for frames in validation])
    active = int(np.sum(means.var(axis=0) > ACTIVE_VARIANCE))
    last = {name: round(value, 4) for name, value in curve[-1].items() if name != "step"}
    files.write_json(METRICS / "train_vae.json", {**last, "active_dimensions": active})
    files.write_csv(METRICS / "train_vae.csv", curve)
    frames = jnp.asarray(validation[0][:8])
    decoded = jax.vmap(model.decode_toned)(vae.encode(model, frames)[0])
    seen = vae.normalise(frames, model.tones)
    pictures.side_by_side(METRICS / "reconstructions.png", np.asarray(seen), np.asarray(decoded))
