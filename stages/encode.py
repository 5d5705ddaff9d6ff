"""Latents of processed frames: `python -m stages.encode [ROUND]`.

Without a round it encodes the scripted drivers' frames; with one, what was explored in it, and
sets it beside the latents that the round started from.
"""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from wm import config, devices, files, model_file, parallel, vae
from wm.episodes import Shards, Writer, longest
from wm.progress import progress
from wm.vae import VAE

PROCESSED, LATENTS, MODEL = Path("data/processed"), Path("data/latents"), Path("models/vae.eqx")


def main(round_name: str = config.FIRST_ROUND, prev: str | None = None) -> None:
    model = model_file.load(MODEL, VAE)
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
    """Every kept episode's mu and logvar in place of its frames."""
    records = shards.kept()
    steps = devices.padded(longest(records))  # one shape, hence one compilation
    for record in progress(records, "encode", len(records)):
        episode = shards.read(record)
        frames = np.zeros((steps, 64, 64, 3), np.uint8)
        frames[: record.length] = episode.observations["frame"]
        latents = vae.encode(model, devices.split(jnp.asarray(frames)))
        mu, logvar = (np.asarray(part)[: record.length] for part in latents)
        writer.write(replace(episode, observations={"mu": mu, "logvar": logvar}))


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", parallel.cores())  # each encodes frames of its own
    config.run_stage(main, *sys.argv[1:])
