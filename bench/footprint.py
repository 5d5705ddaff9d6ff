"""Memory that params.yaml needs on a device, as CSV: `uv run python -m bench.footprint`.

Training data: bytes of all frames and latents if every drive had its full length. Steps: XLA's own figure for
the compiled gradient of one batch on the device that JAX uses: weights, batch and temporary values.
"""

import csv
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from bench import process
from wm.models import rnn, vae
from wm.models.rnn import RNN, Batch
from wm.models.vae import VAE
from wm.params import file
from wm.params.model import Params
from wm.spec import ACTION_SIZE, FRAME_BYTES, FRAME_SHAPE

STEP_BYTES = 4 * ACTION_SIZE + 4 + 4 + 1 + 1  # of an action, its reward, missed tiles, failure and mask


def main() -> None:
    params = file.load()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["what", "megabytes"])
    for name, size in sizes(params).items():
        writer.writerow([name, round(size / 1e6)])


def sizes(params: Params) -> dict[str, int]:
    """Bytes of the data and of a training step, for V and for M."""
    frames, latents = data_bytes(params)
    return {
        "V, frames": frames,
        "V, one training step": gradient_bytes(vae.loss, *vae_step(params)),
        "M, latents of the last round": latents,
        "M, one training step of one RNN": gradient_bytes(rnn_loss(params), *rnn_step(params)),
    }


def data_bytes(params: Params) -> tuple[int, int]:
    """Bytes of V's frames and of the last round's latents."""
    scripted = sum(driver.episodes for driver in params.collect.values())
    explored = (len(params.rounds) - 1) * params.explore.episodes
    latent = 2 * 4 * params.train_vae.latent_size + STEP_BYTES
    frames = training_steps(params, scripted) * FRAME_BYTES
    return frames, training_steps(params, scripted + explored) * latent


def training_steps(params: Params, drives: int) -> int:
    """Steps of that many drives on training tracks, mirror images included."""
    copies = 2 if params.process.mirror else 1
    return round(
        copies * (1 - params.process.validation_share) * drives * params.environment.timing.max_steps
    )


def vae_step(params: Params) -> tuple[VAE, Any]:
    """V and the shape of a batch."""
    section = params.train_vae
    model = VAE(latent_size=section.latent_size, widths=section.widths, key=jr.key(0))
    return model, jax.ShapeDtypeStruct((section.batch_size, *FRAME_SHAPE), jnp.uint8)


def rnn_loss(params: Params) -> Callable[..., Any]:
    """M's loss with the weights of params.yaml."""
    section = params.train_rnn
    weights = rnn.LossWeights(section.reward_weight, section.missed_tile_weight, section.done_weight)
    return partial(rnn.loss, weights=weights, dropout=section.dropout)


def rnn_step(params: Params) -> tuple[RNN, Any]:
    """One RNN and the shape of a batch of windows."""
    section, latent = params.initialise, params.train_vae.latent_size
    model = RNN(
        latent_size=latent,
        hidden_size=section.hidden_size,
        mixtures=section.mixtures,
        joint=section.joint_mixture,
        key=jr.key(0),
    )
    shape = (params.train_rnn.batch_size, params.train_rnn.window_steps)

    def column(kind: Any, *sizes: int) -> Any:
        return jax.ShapeDtypeStruct((*shape, *sizes), kind)

    columns = {
        "mu": column(jnp.float32, latent),
        "logvar": column(jnp.float32, latent),
        "action": column(jnp.float32, ACTION_SIZE),
        "reward": column(jnp.float32),
        "missed": column(jnp.int32),
        "done": column(jnp.bool_),
        "mask": column(jnp.bool_),
    }
    return model, Batch(**columns)


def gradient_bytes(loss: Callable[..., Any], model: Any, batch: Any) -> int:
    """Bytes of arguments, results and temporary values of the compiled gradient."""
    arrays, static = eqx.partition(model, eqx.is_array)

    @jax.jit
    def gradient(arrays: Any, batch: Any, key: Any) -> Any:
        return jax.grad(lambda arrays: loss(eqx.combine(arrays, static), batch, key)[0])(arrays)

    memory: Any = gradient.lower(arrays, batch, jr.key(0)).compile().memory_analysis()
    return memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes


if __name__ == "__main__":
    process.set_up()
    main()
