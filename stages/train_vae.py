"""Trains the VAE on the scripted drivers' frames: `python -m stages train_vae`."""

from functools import partial
from itertools import islice
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from wm.data import resident
from wm.data.resident import FrameOrder
from wm.data.shards import Shards
from wm.models import fit, vae
from wm.models.fit import Training, Validation
from wm.models.vae import VAE
from wm.params.model import Params
from wm.params.names import INIT
from wm.runtime import devices, files, model_file, scratch
from wm.runtime.checkpoint import Checkpoints
from wm.runtime.places import METRICS, PROCESSED, VAE_MODEL
from wm.viewer import pictures

DATA = PROCESSED / INIT
VALIDATION_BUFFER = 64  # episodes whose frames are shuffled together
ACTIVE_VARIANCE = 0.01  # of mu over frames; a latent dimension that varies less counts as unused
PICTURES = 8  # frames shown beside their reconstructions


def main(params: Params) -> None:
    devices.join(params.hosts.launcher)
    settings = params.train_vae
    seed, batch_size, steps = settings.seed, settings.batch_size, settings.steps
    shards = Shards(DATA)
    shards.expect_frames()
    order = FrameOrder(batch_size, VALIDATION_BUFFER, seed)
    unseen = resident.frames_read(shards, shards.kept(validation=True), order)
    validation = list(islice(unseen, settings.validation_batches))
    init_key, fit_key, check_key = jr.split(jr.key(seed), 3)
    model = VAE(
        latent_size=settings.latent_size,
        widths=settings.widths,
        tones=settings.tone_curve,
        key=init_key,
    )
    loss = partial(vae.loss, kl_weight=settings.kl_weight)
    order = FrameOrder(batch_size, settings.shuffle_buffer_episodes, seed)
    frames = partial(resident.frames, shards, shards.kept(validation=False), order)
    training = Training(
        loss,
        lambda done: islice(frames(), done, steps),
        steps,
        settings.learning_rate,
        settings.gradient_clip,
    )
    check = eqx.filter_jit(lambda model, frames, key: loss(model, frames, key)[1])
    metrics = partial(fit.mean_metrics, check, batches=validation, key=check_key)
    with scratch.folder("train_vae", settings.model_dump(), [DATA]) as unfinished:
        devices.share(unfinished)
        model, curve = fit.train(
            model,
            training,
            Validation(metrics, settings.log_every),
            Checkpoints(unfinished / "vae"),
            key=fit_key,
            label="train_vae",
        )
        model_file.save(VAE_MODEL, model)
        report(model, validation, curve)


def report(model: VAE, validation: list[np.ndarray], curve: list[dict[str, Any]]) -> None:
    """Writes the last metrics, the curve, and frames beside their reconstructions, in the tone curve."""
    means = np.concatenate([np.asarray(vae.encode(model, jnp.asarray(frames))[0]) for frames in validation])
    active = int(np.sum(means.var(axis=0) > ACTIVE_VARIANCE))
    last = {name: round(value, 4) for name, value in curve[-1].items() if name != "step"}
    files.write_json(METRICS / "train_vae.json", {**last, "active_dimensions": active})
    files.write_csv(METRICS / "train_vae.csv", curve)
    frames = jnp.asarray(validation[0][:PICTURES])
    decoded = jax.vmap(model.decode_toned)(vae.encode(model, frames)[0])
    toned = vae.normalise(frames, model.tones)
    pictures.write_reconstructions(METRICS / "reconstructions.png", np.asarray(toned), np.asarray(decoded))
