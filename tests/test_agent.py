"""The agent's latents: the encoder's mean, or samples."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.agent.agent import Agent
from wm.agent.cars import Drivers
from wm.agent.drive import CARS, Drive
from wm.models import vae
from wm.models.controller import Controller, snapshots
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


def test_latents_are_the_encoders_mean_or_samples_from_its_distribution(agent, frames):
    same = jnp.broadcast_to(frames[0], frames.shape)
    memory, no_noise = agent.rnn.start(len(frames)), jnp.zeros((len(frames), 3))
    mu, logvar = vae.encode(agent.vae, same)
    assert jnp.allclose(agent.act(same, memory, no_noise)[2], mu, atol=1e-6)
    drawn = agent.act(same, memory, no_noise, jr.normal(jr.key(3), mu.shape))[2]
    sigma = jnp.exp(logvar[0] / 2)
    assert jnp.all(jnp.abs(drawn.mean(axis=0) - mu[0]) < 4 * sigma / len(frames) ** 0.5)
    assert jnp.allclose(drawn.std(axis=0), sigma, rtol=0.1)


def actions(agent, frames, *drives):
    """The first actions of these drives side by side, on these frames."""
    drivers = Drivers(agent)
    for car, drive in enumerate(drives):
        drivers.start(car, drive)
    return drivers.act(frames[:CARS])[: len(drives)]


def test_a_drive_does_not_depend_on_those_beside_it(agent, frames):
    quiet, noisy, sampled = Drive(1), Drive(2, action_noise=0.3), Drive(3, sampled=True)
    mixed = actions(agent, frames, quiet, noisy, sampled)
    for car, drive in enumerate((quiet, noisy, sampled)):
        others = [Drive(9, action_noise=0.1, sampled=True)] * 3
        others[car] = drive
        assert np.array_equal(mixed[car], actions(agent, frames, *others)[car])
    by_mean = actions(agent, frames, quiet, Drive(2), Drive(3))
    assert np.array_equal(mixed[0], by_mean[0])
    assert not np.isclose(mixed[1:], by_mean[1:], atol=1e-3).all(axis=1).any()


def test_a_car_that_starts_again_drives_as_a_fresh_one(agent, frames):
    drivers = Drivers(agent)
    drivers.start(0, Drive(1))
    for _ in range(3):
        drivers.act(frames[:CARS])
    drivers.start(0, Drive(4, action_noise=0.1))
    assert np.array_equal(drivers.act(frames[:CARS])[:1], actions(agent, frames, Drive(4, action_noise=0.1)))


def test_every_car_has_the_controller_of_its_drive(agent, frames):
    weights = jr.normal(jr.key(4), (5, 3, 12))
    controllers = [eqx.tree_at(lambda c: c.weight, agent.controller, weight) for weight in weights]
    drivers = Drivers(agent, snapshots(controllers))
    drives = [Drive(1), *(Drive(1, snapshot=share) for share in (0.0, 0.5, 1.0))]
    for car, drive in enumerate(drives):
        drivers.start(car, drive)
    found = drivers.act(np.stack([frames[0]] * CARS))
    for car, controller in enumerate([agent.controller, *(controllers[i] for i in (0, 2, 4))]):
        alone = eqx.tree_at(lambda a: a.controller, agent, controller)
        assert np.allclose(found[car], actions(alone, frames, Drive(1))[0], atol=1e-5)
