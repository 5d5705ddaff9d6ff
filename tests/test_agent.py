"""The agent's latents: the encoder's mean, or samples."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.agent.agent import Agent
from wm.agent.driving import Drive, Drivers
from wm.models import vae
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.vae import VAE


@pytest.fixture(scope="module")
def agent():
    """An agent whose actions depend on its input."""
    weight = jr.normal(jr.key(2), (3, 12))
    controller = eqx.tree_at(lambda c: c.weight, Controller(features=12), weight)
    v = VAE(latent_size=4, widths=(4, 4, 4, 4), key=jr.key(0))
    return Agent(v, RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(1)), controller)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (500, 64, 64, 3), dtype=np.uint8)


def test_latents_are_the_encoders_mean_or_draws_from_its_distribution(agent, frames):
    same = jnp.broadcast_to(frames[0], frames.shape)
    memory, no_noise = agent.rnn.start(len(frames)), jnp.zeros((len(frames), 3))
    mu, logvar = vae.encode(agent.vae, same)
    assert jnp.allclose(agent.act(same, memory, no_noise)[2], mu, atol=1e-6)
    drawn = agent.act(same, memory, no_noise, jr.normal(jr.key(3), mu.shape))[2]
    sigma = jnp.exp(logvar[0] / 2)
    assert jnp.all(jnp.abs(drawn.mean(axis=0) - mu[0]) < 4 * sigma / len(frames) ** 0.5)
    assert jnp.allclose(drawn.std(axis=0), sigma, rtol=0.1)


def test_a_drive_with_draws_does_not_change_the_drive_beside_it(agent):
    pixels = list(np.random.default_rng(1).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8))
    by_mean, mixed, again = (
        Drivers(agent, [Drive(1, drawn=one), Drive(2)]).act(pixels) for one in (False, True, True)
    )
    assert not np.allclose(mixed[0], by_mean[0], atol=1e-3)
    assert np.allclose(mixed[1], by_mean[1], atol=1e-5)
    assert np.array_equal(mixed, again)
