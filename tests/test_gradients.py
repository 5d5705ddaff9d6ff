"""V's and M's gradients in float32 compared with float64, with YNNPACK and without.

XLA reads its flags once, so each choice has a process of its own, which runs this file.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.models import rnn, vae
from wm.models.rnn import MAX_MISSED, MIN_LOG_SIGMA, REWARD_UNIT, RNN, LossWeights
from wm.models.vae import VAE
from wm.runtime import startup

ROOT = Path(__file__).parents[1]
LAYOUT = ("NHWC", "HWIO", "NHWC")
WEIGHTS = LossWeights(reward=2.0, missed=3.0, done=5.0)
new_key = partial(jr.key, impl="rbg")  # compiles ten times faster than the default


def vae_loss(model, frames):
    """A loss of V without noise."""
    mu, logvar = jax.vmap(model.encode)(frames)
    decoded = jax.vmap(model.decode_toned)(mu + jnp.tanh(logvar))
    return jnp.sum((decoded - vae.normalise(frames)) ** 2) + jnp.sum(logvar**2)


def vae_reference(model, frames):
    """The same in XLA's convolutions, in the precision of the weights."""
    x = pixels = frames.astype(model.to_latent.bias.dtype) / 255
    for conv in model.down:
        x = jax.lax.conv_general_dilated(x, conv.kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=LAYOUT)
        x = jax.nn.relu(x + conv.bias)
    latents = x.reshape(len(x), -1) @ model.to_latent.weight.T + model.to_latent.bias
    mu, logvar = jnp.split(latents, 2, axis=-1)
    z = mu + jnp.tanh(logvar)
    y = (z @ model.from_latent.weight.T + model.from_latent.bias).reshape(x.shape)
    for conv in model.up:
        y = jax.lax.conv_transpose(
            y, conv.kernel, (2, 2), [(2, 2)] * 2, dimension_numbers=LAYOUT, transpose_kernel=True
        )
        y = y + conv.bias
        y = jax.nn.sigmoid(y) if conv is model.up[-1] else jax.nn.relu(y)
    return jnp.sum((y - pixels) ** 2) + jnp.sum(logvar**2)


def drives():
    """Random drives of different lengths, whose latents have no noise."""
    rng = np.random.default_rng(0)
    batch, time, latent = 4, 20, 8
    lengths = np.array([20, 17, 5, 20])
    columns = {
        "mu": rng.normal(size=(batch, time, latent)).astype(np.float32),
        "logvar": np.full((batch, time, latent), -60, np.float32),
        "action": rng.normal(size=(batch, time, 3)).astype(np.float32),
        "reward": rng.normal(size=(batch, time)).astype(np.float32),
        "missed": rng.integers(0, 9, (batch, time)).astype(np.int32),
        "done": rng.random((batch, time)) < 0.1,
        "mask": np.arange(time) < lengths[:, None],
    }
    return rnn.to_batch(columns)


def rnn_reference(model, batch):
    """`rnn.loss` of drives without noise, written step by step."""
    batch = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), batch)

    def advance(memory, step):
        hidden, cell = memory
        raw = jnp.concatenate(step, -1) @ model.input_weight + hidden @ model.hidden_weight
        enter, forget, leave, candidate = jnp.split(raw + model.gate_bias, 4, axis=-1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
        hidden = jax.nn.sigmoid(leave) * jnp.tanh(cell)
        return (hidden, cell), hidden

    start = jnp.zeros((batch.mu.shape[1], model.hidden_size), model.gate_bias.dtype)
    hidden = jax.lax.scan(advance, (start, start), (batch.mu, batch.action))[1]
    out = hidden @ model.head_weight + model.head_bias
    parts = out[:-1, :, :-3].reshape(len(out) - 1, out.shape[1], 3, model.mixtures, -1)
    logits, mean, log_sigma = jnp.moveaxis(parts, 2, 0)
    log_sigma = jnp.maximum(log_sigma, MIN_LOG_SIGMA)
    density = jax.nn.log_softmax(logits, axis=-2) + jax.scipy.stats.norm.logpdf(
        batch.mu[1:, :, None], mean, jnp.exp(log_sigma)
    )
    steps, mask = jnp.sum(batch.mask), batch.mask
    nll = -jnp.sum(jax.nn.logsumexp(density, axis=-2).sum(-1) * mask[1:]) / jnp.sum(mask[1:])
    kept = mask & ~batch.done
    reward = jnp.sum(kept * (out[..., -3] - batch.reward / REWARD_UNIT) ** 2) / jnp.sum(kept)
    missed = jnp.sum(mask * (out[..., -2] - jnp.minimum(batch.missed, MAX_MISSED)) ** 2) / steps
    done = jnp.sum(mask * (jnp.logaddexp(0, out[..., -1]) - batch.done * out[..., -1])) / steps
    return nll + WEIGHTS.reward * reward + WEIGHTS.missed * missed + WEIGHTS.done * done


def error(slope, model, reference, batch):
    """The largest error of the gradients, relative to each leaf's largest value in float64."""
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), model)
        wanted = jax.tree.leaves(eqx.filter_jit(eqx.filter_grad(reference))(exact, batch))
        found = jax.tree.leaves(slope)
        return max(
            float(np.abs(np.asarray(f) - np.asarray(w)).max() / np.abs(w).max())
            for f, w in zip(found, wanted, strict=True)
        )


def main():
    """Prints the errors of V's and M's gradients, and of M's in bfloat16."""
    frames = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    v = eqx.filter_jit(VAE)(latent_size=8, widths=(8, 16, 16, 32), key=new_key(0))
    slope = eqx.filter_jit(eqx.filter_grad(vae_loss))(v, frames)
    print(error(slope, v, vae_reference, frames))
    m = eqx.filter_jit(RNN)(latent_size=8, hidden_size=64, mixtures=3, key=new_key(1))
    loss = partial(rnn.loss, weights=WEIGHTS, dropout=0.0)
    for precision in ("float32", "bfloat16"):
        slopes = eqx.filter_grad(rnn.with_rounded_weights(loss, precision), has_aux=True)
        slope, _ = eqx.filter_jit(slopes)(m, drives(), new_key(0))
        print(error(slope, m, rnn_reference, drives()))


@pytest.mark.parametrize("flags", ["", startup.NO_YNNPACK])
def test_gradients_are_those_of_float64(flags):
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    of_v, of_m, of_m_in_bfloat16 = map(float, ended.stdout.split())
    assert of_v < 1e-5
    assert of_m < 1e-5
    assert of_m_in_bfloat16 < 0.05


if __name__ == "__main__":
    main()
