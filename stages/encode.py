"""Latents of processed frames: `python -m stages encode [ROUND]`.

Without a round, encodes the frames of the scripted drivers. With a round, encodes the frames explored in
it and adds the latents that the round started from.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from wm.data.batches import longest
from wm.data.shards import Shards, Writer
from wm.models import vae
from wm.models.vae import VAE
from wm.params.model import Params
from wm.params.names import INIT
from wm.runtime import devices, files, model_file
from wm.runtime.places import LATENTS, PROCESSED, VAE_MODEL
from wm.runtime.progress import progress


def main(params: Params, round_name: str = INIT, prev: str | None = None) -> None:
    model = model_file.load(VAE_MODEL, VAE)
    shards = Shards(PROCESSED / round_name)
    shards.expect_frames()
    before = Shards(LATENTS / prev) if prev else None
    if before:
        before.expect_latents(model.latent_size)
    with files.replacing(LATENTS / round_name) as folder:
        writer = Writer(folder, round_name)
        if before:
            writer.adopt(before)
        encode(model, shards, writer)
        writer.finish()


def encode(model: VAE, shards: Shards, writer: Writer) -> None:
    """Writes every kept episode with mu and logvar instead of its frames."""
    records = shards.kept()
    steps = devices.padded(longest(records))  # one shape, hence one compilation
    for record in progress(records, "encode", len(records)):
        episode = shards.read(record)
        frames = np.zeros((steps, 64, 64, 3), np.uint8)
        frames[: record.length] = episode.observations["frame"]
        latents = vae.encode(model, devices.split(jnp.asarray(frames)))
        mu, logvar = (np.asarray(part)[: record.length] for part in latents)
        writer.write(replace(episode, observations={"mu": mu, "logvar": logvar}))
