from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.models import fit, mdn, rnn
from wm.models.rnn import RNN, Batch, Ensemble
from wm.runtime import model_file

SIZES: dict[str, Any] = {"latent_size": 4, "hidden_size": 16, "mixtures": 3}
LOSS = partial(rnn.loss, weights=rnn.LossWeights(reward=10.0, missed=10.0, done=10.0), dropout=0.0)


@pytest.fixture
def model():
    return RNN(**SIZES, key=jr.key(0))


def episodes(batch=3, time=12, seed=0):
    rng = np.random.default_rng(seed)
    return Batch(
        mu=jnp.asarray(rng.normal(size=(batch, time, 4)), jnp.float32),
        logvar=jnp.full((batch, time, 4), -20.0),
        action=jnp.asarray(rng.uniform(-1, 1, (batch, time, 3)), jnp.float32),
        reward=jnp.asarray(rng.normal(size=(batch, time)), jnp.float32),
        missed=jnp.asarray(rng.random((batch, time)) < 0.1, jnp.int32),
        done=jnp.zeros((batch, time), bool),
        mask=jnp.ones((batch, time), bool),
    )


def step_by_step(model, z, action, masks=None):
    memory, memories = model.start(z.shape[0]), []
    for t in range(z.shape[1]):
        memory = rnn.step(model, z[:, t], action[:, t], memory, masks)
        memories.append(memory)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *memories)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_unroll_is_step_after_step_and_so_are_its_gradients(model, rate):
    batch = episodes()
    masks = rnn.draw_masks(model, rate, (3,), jr.key(5))

    def total(run, model):
        memory = run(model, batch.mu, batch.action, masks)
        return (memory.hidden**2).sum() + jnp.sin(memory.cell).sum()

    value, slope = eqx.filter_value_and_grad(partial(total, rnn.unroll))(model)
    expected, expected_slope = eqx.filter_value_and_grad(partial(total, step_by_step))(model)
    assert value == pytest.approx(float(expected), rel=1e-5)
    for found, wanted in zip(jax.tree.leaves(slope), jax.tree.leaves(expected_slope), strict=True):
        assert np.allclose(found, wanted, atol=1e-4)


def test_padding_changes_nothing(model):
    batch = episodes()
    padded = jax.tree.map(lambda leaf: jnp.pad(leaf, [(0, 0), (0, 5)] + [(0, 0)] * (leaf.ndim - 2)), batch)
    key = jr.key(1)  # logvar of the padding is 0, but no real step sees it
    _, short = LOSS(model, batch._replace(logvar=jnp.full_like(batch.logvar, -60.0)), key)
    _, long = LOSS(model, padded._replace(logvar=jnp.full_like(padded.logvar, -60.0)), key)
    for name, value in short.items():
        assert float(value) == pytest.approx(float(long[name]), rel=1e-4), name


def test_step_t_predicts_the_next_latent_and_the_reward_of_its_own_action(model):
    batch = episodes()
    memory = rnn.unroll(model, batch.mu, batch.action)
    expected = model.predict(jnp.swapaxes(memory.hidden, 0, 1))
    wanted = -mdn.log_density(jax.tree.map(lambda leaf: leaf[:, 0], expected.mixture), batch.mu[:, 1]).sum(-1)
    only_first = batch._replace(mask=jnp.zeros_like(batch.mask).at[:, :2].set(True))
    _, metrics = LOSS(model, only_first, jr.key(0))
    assert float(metrics["nll"]) == pytest.approx(float(wanted.mean()), rel=1e-2)
    error = (expected.reward[:, :2] - batch.reward[:, :2]) ** 2
    assert float(metrics["reward_error"]) == pytest.approx(float(error.mean()), rel=1e-2)


def test_the_fine_of_a_failure_is_left_to_the_done_head(model):
    batch = episodes()
    failed = batch._replace(reward=batch.reward.at[:, -1].set(-100.0), done=batch.done.at[:, -1].set(True))
    metrics = LOSS(model, failed, jr.key(0))[1]
    assert float(metrics["reward_error"]) < 100
    assert float(metrics["done_error"]) > float(LOSS(model, batch, jr.key(0))[1]["done_error"]) * 0.9


def test_a_shortcut_across_the_grass_counts_as_one_fault(model):
    batch = episodes()
    some, many = (
        LOSS(model, batch._replace(missed=jnp.full_like(batch.missed, n)), jr.key(0))[1]["missed_error"]
        for n in (rnn.MAX_MISSED, 20)
    )
    assert float(some) == float(many) > float(LOSS(model, batch, jr.key(0))[1]["missed_error"])


def test_overfits_one_batch():
    model = RNN(latent_size=4, hidden_size=48, mixtures=3, key=jr.key(0))
    batch = episodes(time=8)
    rewards = batch.reward
    batch = batch._replace(done=batch.done.at[0, -1].set(True))
    steps = 600
    training = fit.updates(model, LOSS, [batch] * steps, fit.adam(1e-2, steps, 10.0), key=jr.key(3))
    curve = [fitted.metrics for fitted in training]
    assert curve[-1]["reward_error"] < 0.05 * float(rewards.var())
    assert curve[-1]["missed_error"] < 0.1
    assert curve[-1]["done_error"] < 0.02
    assert curve[-1]["nll"] < curve[0]["nll"] - 3


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_ensemble_survives_its_file_with_members_unlike_each_other(count, tmp_path):
    ensemble = Ensemble(count=count, **SIZES, key=jr.key(0))
    members = ensemble.members
    assert len({float(member.head_weight[0, 0]) for member in members}) == count
    swapped = ensemble.with_members(members[::-1])
    model_file.save(tmp_path / "simulators.eqx", swapped)
    loaded = model_file.load(tmp_path / "simulators.eqx", Ensemble).members
    for found, wanted in zip(loaded, members[::-1], strict=True):
        assert np.array_equal(found.head_weight, wanted.head_weight)


def test_rounded_weights_predict_nearly_the_same(model):
    rounded = rnn.in_precision(model, "bfloat16")
    assert rounded.hidden_weight.dtype == jnp.bfloat16
    assert rounded.gate_bias.dtype == jnp.float32
    batch = episodes()
    exact, near = (step_by_step(one, batch.mu, batch.action).hidden for one in (model, rounded))
    assert near.dtype == jnp.float32
    assert np.allclose(exact, near, atol=0.02)
    assert not np.array_equal(exact, near)
    unchanged = rnn.in_precision(model, "float32")
    assert np.array_equal(exact, step_by_step(unchanged, batch.mu, batch.action).hidden)


def test_one_product_of_rounded_weights_equals_two(model):
    rounded, batch = rnn.in_precision(model, "bfloat16"), episodes()
    z, action, memory = batch.mu[:, 0], batch.action[:, 0], model.start(len(batch.mu))
    memory = rnn.step(rounded, z, action, memory)
    one, two = rounded.step(z, action, memory), rounded.advance(rounded.inputs(z, action), memory)
    assert np.allclose(one.hidden, two.hidden, atol=1e-6)
    assert not np.allclose(one.hidden, memory.hidden, atol=1e-3)


def test_rounded_weights_have_nearly_the_same_gradients(model):
    def slope(precision):
        of = eqx.filter_grad(lambda m: LOSS(rnn.in_precision(m, precision), episodes(), jr.key(0))[0])
        return jax.tree.leaves(of(model))

    for exact, near in zip(slope("float32"), slope("bfloat16"), strict=True):
        assert near.dtype == jnp.float32
        assert 0 < np.linalg.norm(exact - near) < 0.03 * np.linalg.norm(exact)
