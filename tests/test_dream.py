from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.dream import open_loop, scoring, unroll
from wm.dream.dynamics import (
    Dream,
    Outcome,
    Rules,
    Simulation,
    State,
    apply_stuck_rule,
    first_latent,
    next_latent,
    step,
)
from wm.dream.scoring import as_episodes, whole_episodes
from wm.dream.starts import StartFrames, Starts, starts_at
from wm.models import mdn, rnn
from wm.models.controller import Controller, stack
from wm.models.rnn import RNN, Batch
from wm.spec import FAILURE_REWARD


def rules(**changes):
    return Rules(**({"temperature": 1.0, "stuck_steps": 0, "action_repeat": 4} | changes))


@pytest.fixture
def model():
    return RNN(latent_size=4, hidden_size=8, mixtures=3, key=jr.key(0))


def controllers(*seeds):
    one = Controller(features=12)
    return stack([one.with_parameters(jr.normal(jr.key(seed), one.parameters.shape)) for seed in seeds])


def starts(model, count=5):
    mu = jr.normal(jr.key(1), (count, 4))
    return Starts(mu, jnp.full_like(mu, -1.0), model.start(count), model.start(count))


def unrolled(model, population, watcher=None):
    simulation = Simulation(model, watcher or model, rules())
    return unroll.unroll(simulation, population, starts(model), jr.key(2), steps=6).outcome


def test_equal_candidates_dream_equal_dreams(model):
    reward = unrolled(model, controllers(7, 8, 7)).reward
    assert reward.shape == (6, 3, 5)
    assert np.allclose(reward[:, 0], reward[:, 2], atol=1e-6)
    assert not np.allclose(reward[-1, 0], reward[-1, 1], atol=1e-6)


@pytest.mark.parametrize(("dreams", "size"), [(1000, 4), (10, 2), (3, 1)])
def test_groups_of_candidates_dream_the_same_dreams_as_all_at_once(model, monkeypatch, dreams, size):
    def of_all():
        simulation, population = Simulation(model, model, rules()), controllers(7, 8, 9, 10)
        args = simulation, population, starts(model), jr.key(2)
        return unroll.unroll(*args, steps=6, observe=lambda z: z[..., 0])

    monkeypatch.setattr(unroll, "CACHED_DREAMS", 10**6)
    together = of_all()
    monkeypatch.setattr(unroll, "CACHED_DREAMS", dreams)
    assert unroll.at_once(4, 5) == size
    leaves = zip(*map(jax.tree.leaves, (of_all(), together)), strict=True)
    assert all(np.allclose(found, wanted, atol=1e-5) for found, wanted in leaves)


def test_a_candidates_dreams_do_not_depend_on_the_others(model):
    together = unrolled(model, controllers(7, 8)).reward[:, 0]
    alone = unrolled(model, controllers(7)).reward[:, 0]
    assert np.allclose(together, alone, atol=1e-5)


def test_the_mode_and_the_mean_are_deterministic(model):
    """Dreams by the mode or the mean do not depend on the noise; sampled dreams do."""
    population, same = controllers(7), starts(model)
    still = same._replace(logvar=jnp.full_like(same.logvar, -100.0))  # no randomness at the start either

    def ends(sampling, seed):
        simulation = Simulation(model, model, rules(sampling=sampling))
        return np.asarray(unroll.unroll(simulation, population, still, jr.key(seed), steps=6).end.z)

    result = {kind: (ends(kind, 1), ends(kind, 2)) for kind in ("sampled", "mode", "mean")}
    assert not np.allclose(*result["sampled"], atol=1e-2)
    assert np.allclose(*result["mode"], atol=1e-6)
    assert np.allclose(*result["mean"], atol=1e-6)
    assert not np.allclose(result["mode"][0], result["mean"][0], atol=1e-3)


def test_denoised_dreams_start_at_the_encoders_mean_and_spread_less(model):
    population, noisy = controllers(7), starts(model)
    noisy = noisy._replace(logvar=jnp.full_like(noisy.logvar, 2.0))

    def ends(variance, seed, steps):
        denoised = rules(sampling="denoised", encoder_variance=(variance,) * 4)
        simulation = Simulation(model, model, denoised)
        return np.asarray(unroll.unroll(simulation, population, noisy, jr.key(seed), steps=steps).end.z)

    assert np.array_equal(ends(0.1, seed=1, steps=0)[0], noisy.mu)
    wide, narrow = (np.abs(ends(v, 1, 1) - ends(v, 2, 1)).mean() for v in (1e-6, 1.0))
    assert narrow < 0.8 * wide


def test_the_watcher_affects_the_controller_but_not_the_dream(model):
    other = RNN(**model.sizes, key=jr.key(9))
    blind = jax.tree.map(jnp.zeros_like, controllers(7))  # the same actions for any input
    seen = controllers(7)
    assert np.allclose(unrolled(model, blind).reward, unrolled(model, blind, watcher=other).reward)
    assert not np.allclose(unrolled(model, seen).reward, unrolled(model, seen, watcher=other).reward)


def test_simulators_generate_whole_episodes_in_turn(model):
    """Every second episode comes from the second simulator, which expects nothing but failure."""
    fatal, safe = (
        eqx.tree_at(lambda m: m.head_bias, model, model.head_bias.at[-1].set(logit))
        for logit in (50.0, -50.0)
    )
    mu = jr.normal(jr.key(1), (5, 4))
    dream = Dream([safe, fatal], model, rules(action_repeat=40), warm_up_frames=50)
    frames = StartFrames(mu, jnp.full_like(mu, -1.0), jnp.zeros(5))
    result = whole_episodes(dream, Controller(features=12), frames, jr.key(0))
    scores = result.score
    assert np.allclose(result.failure[1::2], 1)
    assert np.allclose(result.failure[::2], 0)
    assert (scores[1::2] < FAILURE_REWARD + 5).all()
    assert (scores[::2] > -50).all()
    one = StartFrames(*(part[:1] for part in frames))
    assert np.allclose(whole_episodes(dream, Controller(features=12), one, jr.key(0)).score, scores[0])


def test_a_failure_costs_its_fine_and_all_later_rewards():
    outcome = Outcome(jnp.array([2.0, 3.0, 5.0]), jnp.zeros(3), jnp.array([0.0, 1.0, 0.0]))
    assert float(scoring.returns(outcome)) == pytest.approx(2.0 - 100.0)
    half = Outcome(jnp.array([2.0, 3.0]), jnp.zeros(2), jnp.array([0.0, 0.5]))
    assert float(scoring.returns(half)) == pytest.approx(2.0 + 0.5 * 3.0 - 0.5 * 100.0)


def test_a_car_without_a_tile_for_too_long_is_stuck():
    driving, standing = 3.0, -0.4
    lap = jnp.array([driving] * 5 + [standing] * 4 + [driving] * 3)[:, None]
    outcome = Outcome(lap, jnp.ones_like(lap), jnp.full_like(lap, 0.01))
    patient, impatient, never = (apply_stuck_rule(outcome, rules(stuck_steps=n)) for n in (5, 3, 0))
    assert np.allclose(patient.reward, lap)
    assert np.allclose(never.reward, lap)
    assert np.allclose(impatient.reward[:7], lap[:7])
    assert np.allclose(impatient.reward[7:], standing)
    assert np.allclose(impatient.failure[7:], 0)
    assert impatient.missed[:, 0].tolist() == [1] * 7 + [0] * 5


def test_a_dreamt_lap_is_complete_with_all_tiles():
    steps, repeat = 20, 4
    reward = jnp.full((steps, 1), 100.0 - 0.1 * repeat)  # a tenth of the lap's tiles per step
    outcome = Outcome(reward, jnp.zeros((steps, 1)), jnp.zeros((steps, 1)))
    warm_up = jnp.array([-5.0])  # 50 frames without a tile
    result = as_episodes(outcome, warm_up, rules(stuck_steps=3, action_repeat=repeat), warm_up_frames=50)
    assert bool(result.lap[0])
    assert int(result.frames[0]) == 50 + 10 * repeat
    assert float(result.score[0]) == pytest.approx(1000 - 0.1 * float(result.frames[0]), abs=1e-3)


@pytest.mark.parametrize(
    ("missed", "lap", "tiles"), [(0.9, True, 1000.0), (1.2, False, 1000.0), (21.5, False, 930.0)]
)
def test_a_dreamt_lap_with_a_missed_tile_lasts_until_the_last_frame(missed, lap, tiles):
    """A whole tile missed is a tile that the lap lacks."""
    steps, repeat = 238, 4
    reward = jnp.full((steps, 1), 10.0 - 0.1 * repeat)
    jump = jnp.zeros((steps, 1)).at[3].set(missed)
    outcome = Outcome(reward, jump, jnp.zeros((steps, 1)))
    result = as_episodes(outcome, jnp.array([-5.0]), rules(action_repeat=repeat), warm_up_frames=50)
    assert bool(result.lap[0]) == lap
    assert int(result.frames[0]) == (50 + 100 * repeat if lap else 1000)
    assert float(result.missed[0]) == pytest.approx(missed)
    frames = 50 + 100 * repeat if lap else 50 + 238 * repeat
    assert float(result.score[0]) == pytest.approx(tiles - 0.1 * frames, abs=1e-2)


def test_start_states_remember_the_drive_before_them(model):
    mu, action = jr.normal(jr.key(3), (2, 9, 4)), jr.normal(jr.key(4), (2, 9, 3))
    zeros = jnp.zeros((2, 9))
    batch = Batch(mu, jnp.full_like(mu, -60.0), action, zeros, zeros.astype(int), zeros > 0, zeros == 0)
    other = RNN(**model.sizes, key=jr.key(9))
    result = starts_at(Simulation(model, other, rules()), batch, jnp.array([[0, 5], [8, 1]]), jr.key(0))
    memories = rnn.unroll(model, mu, action)
    assert np.allclose(result.mu[0, 1], mu[0, 5])
    assert np.allclose(result.memory.hidden[0, 0], 0)
    assert np.allclose(result.memory.hidden[0, 1], memories.hidden[4, 0], atol=1e-6)
    assert np.allclose(result.memory.cell[1, 0], memories.cell[7, 1], atol=1e-6)
    watched = rnn.unroll(other, mu, action)
    assert np.allclose(result.watched.hidden[0, 1], watched.hidden[4, 0], atol=1e-6)


DENOISED = rules(sampling="denoised", encoder_variance=(0.1,) * 4, noisy_simulator=True)


def test_denoised_start_states_remember_the_encoders_mean_where_the_agent_does(model):
    """The watcher has seen the encoder's mean, the simulator latents with noise."""
    mu, action, zeros = jr.normal(jr.key(3), (2, 9, 4)), jr.normal(jr.key(4), (2, 9, 3)), jnp.zeros((2, 9))
    batch = Batch(mu, jnp.ones_like(mu), action, zeros, zeros.astype(int), zeros > 0, zeros == 0)
    simulation = Simulation(model, model, DENOISED)
    result = starts_at(simulation, batch, jnp.array([[5], [8]]), jr.key(0))
    noisy = rnn.sample_latents(batch, jr.key(0))
    for memory, z in ((result.watched, mu), (result.memory, noisy)):
        assert np.allclose(memory.hidden[0, 0], rnn.unroll(model, z, action).hidden[4, 0], atol=1e-6)


def test_in_a_denoised_dream_the_simulator_reads_noise_that_the_agent_does_not_see(model):
    """One step: the simulator goes on from `noisy`, the watcher and the controller from `z`."""
    simulation = Simulation(model, model, DENOISED)
    z, noisy, action = jr.normal(jr.key(1), (4,)), jr.normal(jr.key(2), (4,)), jnp.array([0.1, 0.5, 0.0])
    noise = mdn.draw_noise(jr.key(3), (4,), model.mixtures)
    after, _ = step(simulation, State(z, noisy, model.start(), model.start()), action, noise)
    for memory, read in ((after.memory, noisy), (after.watched, z)):
        assert np.allclose(memory.hidden, rnn.step(model, read, action, model.start()).hidden, atol=1e-6)
    assert np.allclose(after.noisy - after.z, np.sqrt(0.1) * noise.encoder, atol=1e-6)


def test_a_perfect_model_has_no_drift(model):
    """A drive made of the model's own expectations is predicted without error."""
    action = jr.normal(jr.key(4), (2, 12, 3))
    memory, z, latents, rewards = model.start(2), jnp.ones((2, 4)), [], []
    for t in range(12):
        latents.append(z)
        memory = model.advance(model.inputs(z, action[:, t]), memory)
        expected = model.predict(memory.hidden)
        rewards.append(expected.reward)
        z = (jax.nn.softmax(expected.mixture.logits, axis=-2) * expected.mixture.mean).sum(-2)
    mu, reward = jnp.stack(latents, 1), jnp.stack(rewards, 1)
    done = jnp.zeros((2, 12), bool)
    batch = Batch(mu, jnp.full_like(mu, -60.0), action, reward, done.astype(int), done, ~done)
    measure = partial(open_loop.drift, model, key=jr.key(0), warm=4, steps=6)
    latent, points = measure(batch)
    assert np.allclose(latent, 0, atol=1e-4)
    assert np.allclose(points, 0, atol=1e-4)
    latent, points = measure(batch._replace(reward=reward + 1))
    assert np.allclose(points, np.arange(1, 7), atol=1e-4)


def test_the_simulator_of_an_early_agents_denoised_dream_reads_what_the_agent_sees(model):
    early = DENOISED.replace(noisy_simulator=False)
    mixture = model.predict(jnp.zeros(model.hidden_size)).mixture
    z, noisy = next_latent(mixture, mdn.draw_noise(jr.key(0), (4,), model.mixtures), early)
    assert np.array_equal(z, noisy)
    assert np.array_equal(*first_latent(jnp.ones(4), jnp.zeros(4), early))
