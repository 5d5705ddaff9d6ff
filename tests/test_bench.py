"""The figures of benchmarks; their PyTorch models compute the same as the project's."""

import argparse
import os
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from bench import gap_causes, process, torch_weights
from bench import layers as bench_layers
from bench import rnn as bench_rnn
from bench import vae as bench_vae
from bench.timing import Row, alternate
from wm.dream import dynamics
from wm.dream.dynamics import Rules, Simulation, State
from wm.models import mdn, vae
from wm.models.controller import Controller, stack
from wm.models.vae import VAE
from wm.params import profiles
from wm.params.check import check
from wm.runtime import startup
from wm.spec import FAILURE_REWARD


def test_a_row_has_the_ratio_and_the_share_of_the_limit():
    row = Row("dream", "steps", 3000.0, "PyTorch", 1200.0, "the matrix product", 4000.0)
    assert row.cells == ["dream", "steps", "3,000", "PyTorch 1,200", "2.50", "75 % of the matrix product"]
    assert list(row.record.values()) == [
        "dream",
        "steps",
        "3000",
        "PyTorch",
        "1200",
        "75",
        "the matrix product",
    ]
    assert Row("dream", "steps", 2.345).cells == ["dream", "steps", "2.35", "", "", ""]
    assert list(Row("dream", "steps", 2.345).record.values()) == ["dream", "steps", "2.35", "", "", "", ""]


def test_runs_alternate_and_the_first_turn_does_not_count(monkeypatch):
    clock, turns = [0.0], []

    def run(name, *seconds):
        left = iter(seconds)

        def turn():
            turns.append(name)
            clock[0] += next(left)

        return turn

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert alternate({"a": run("a", 100, 1, 9, 2), "b": run("b", 100, 5, 5, 5)}, rounds=3) == {"a": 2, "b": 5}
    assert turns == ["a", "b"] * 4


def test_a_share_is_written_as_part_and_number_of_parts():
    assert gap_causes.share("2/3") == (2, 3)
    for wrong in ("3/2", "0/2", "1/0", "1", "a/b", "-1/2"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected I/N"):
            gap_causes.share(wrong)


def test_a_training_batch_of_m_is_that_of_the_default_profile(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    settings = check(profiles.content("default")).train_rnn
    assert (settings.batch_size, settings.window_steps) == bench_rnn.SHAPE


def test_v_is_measured_with_the_flags_of_its_stages():
    assert startup.NO_YNNPACK in (process.convolving(os.getenv, "XLA_FLAGS") or "")
    assert startup.NO_YNNPACK not in os.getenv("XLA_FLAGS", "")


def test_pytorchs_vae_equals_ours():
    pytest.importorskip("torch")
    ours = VAE(latent_size=bench_vae.LATENT, widths=bench_vae.SMALL, key=jr.key(0))
    encoder, decoder = bench_vae.torch_networks(bench_vae.SMALL)
    torch_weights.put_vae((encoder, decoder), ours)
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    mu, logvar = vae.encode(ours, jnp.asarray(frames))
    found = encoder(torch_weights.as_tensor(frames / 255).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(found, np.concatenate([mu, logvar], axis=1), atol=1e-5)
    shown = decoder(torch_weights.as_tensor(mu)).permute(0, 2, 3, 1).detach().numpy()
    np.testing.assert_allclose(shown, vae.decode(ours, mu), atol=1e-5)
    assert np.ptp(mu, axis=0).max() > 1e-3


def test_pytorchs_rnn_equals_ours():
    pytest.importorskip("torch")
    ours = bench_rnn.network(0)
    lstm, head = bench_rnn.torch_networks()
    torch_weights.put_rnn((lstm, head), ours)
    batch = bench_rnn.batch()._replace(logvar=jnp.full(bench_rnn.batch().mu.shape, -60.0))
    missed = np.random.default_rng(1).integers(0, 5, batch.missed.shape)
    batch = batch._replace(missed=jnp.asarray(missed))
    expected, _ = eqx.filter_jit(bench_rnn.LOSS)(ours, batch, jr.key(0))
    mu, _, *data = bench_rnn.torch_batch(batch)
    found = bench_rnn.torch_loss((lstm, head), mu, data)
    assert found.item() == pytest.approx(float(expected), rel=1e-5)


def test_pytorchs_dream_equals_ours():
    torch = pytest.importorskip("torch")
    simulator, watcher = bench_rnn.network(0), bench_rnn.network(1)
    rng, population, rollouts = np.random.default_rng(0), 2, 3
    features = bench_rnn.LATENT + bench_rnn.HIDDEN
    weights = rng.normal(size=(population, 3, features)) / 10
    controllers = [
        eqx.tree_at(lambda c: c.weight, Controller(features=features), jnp.asarray(weight, jnp.float32))
        for weight in weights
    ]
    dreams = bench_rnn.TorchDream(population, rollouts)
    torch_weights.put_lstm(dreams.simulator, simulator)
    torch_weights.put_lstm(dreams.watcher, watcher)
    torch_weights.put(dreams.head, weight=simulator.head_weight.T, bias=simulator.head_bias)
    dreams.weight = torch_weights.as_tensor(np.swapaxes(weights, 1, 2))
    z = rng.normal(size=(rollouts, bench_rnn.LATENT)).astype(np.float32)
    rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=4)
    repeated = jnp.tile(z, (population, 1, 1))
    shape = (population, rollouts)
    state = State(repeated, repeated, simulator.start(*shape), watcher.start(*shape))
    found, points, survival = dreams.start(torch.from_numpy(z)), 0.0, 1.0
    for i in range(4):
        noise = mdn.draw_noise(jr.key(i), z.shape, bench_rnn.MIXTURES)
        act = eqx.filter_vmap(lambda c, z, h: jax.vmap(c)(z, h))
        action = act(stack(controllers), state.z, state.watched.hidden)
        state, outcome = dynamics.step(Simulation(simulator, watcher, rules), state, action, noise)
        points += survival * (1 - outcome.failure) * outcome.reward
        points += survival * outcome.failure * FAILURE_REWARD
        survival = survival * (1 - outcome.failure)
        with torch.no_grad():
            found = dreams.step(
                found, torch_weights.as_tensor(noise.gumbel), torch_weights.as_tensor(noise.normal)
            )
    np.testing.assert_allclose(found[0], state.z.reshape(-1, bench_rnn.LATENT), atol=1e-4)
    np.testing.assert_allclose(found[-1], np.ravel(points), atol=1e-4)
    assert np.ptp(np.ravel(points)) > 1e-3


@pytest.mark.parametrize("operation", ["down", "up", "kernel"])
@pytest.mark.parametrize("channel", [3, 5])
def test_all_ways_to_write_a_layer_agree_with_pytorch(operation, channel, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(bench_layers, "BATCH", 16)
    pair = bench_layers.given(bench_layers.Layer(side=4, channel=channel, out=7))[operation]
    expected = np.asarray(bench_layers.in_torch(operation, *pair)())
    expected = expected.transpose(2, 3, 1, 0) if operation == "kernel" else expected.transpose(0, 2, 3, 1)
    for name, way in bench_layers.ways(operation).items():
        np.testing.assert_allclose(jax.jit(way)(*pair), expected, atol=1e-3, err_msg=name)
