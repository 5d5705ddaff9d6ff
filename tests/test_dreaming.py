from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.dream import dynamics, playing
from wm.dream.dynamics import Outcome, Rules
from wm.dream.playing import Chosen, Dreams
from wm.dream.scoring import as_episodes
from wm.dream.starts import FirstSight, read_starts
from wm.errors import BadInput
from wm.models.rnn import RNN
from wm.params.environment import Environment
from wm.runtime import files, model_file
from wm.spec import FAILURE_REWARD, FRAME_REWARD

REPEAT, WARM_UP = 4, 50
REWARD_HEAD = 3 * 4 * 3  # its place: behind the mixtures' logits, means and sigmas

begin = eqx.filter_jit(Dreams.begin)
advance = eqx.filter_jit(Dreams.advance)
play = eqx.filter_jit(Dreams.play)


def network(seed, done=-50.0, reward=None):
    """A small RNN of the given failure logit (and reward, in its units)."""
    model = RNN(latent_size=4, hidden_size=8, mixtures=3, key=jr.key(seed))
    bias = model.head_bias.at[-1].set(done)
    weight = model.head_weight.at[:, -1].set(0)
    if reward is not None:
        bias, weight = bias.at[REWARD_HEAD].set(reward), weight.at[:, REWARD_HEAD].set(0)
    return eqx.tree_at(lambda m: (m.head_bias, m.head_weight), model, (bias, weight))


def world(*simulators, patience=0, temperature=1.0, warm_up_reward=0.0, horizon=20):
    mu = jr.normal(jr.key(1), (5, 4))
    starts = FirstSight(mu, jnp.full_like(mu, -1.0), jnp.full(5, warm_up_reward))
    rules = Rules(temperature, patience, REPEAT)
    return Dreams(list(simulators), network(9), starts, rules, WARM_UP, horizon)


def chosen(*simulators, seed=0):
    """As many episodes as `simulators` names, each in the world of its own."""
    count = len(simulators)
    parts = (np.arange(count) % 5, simulators, np.arange(seed, seed + count))
    return Chosen(*(jnp.array(part, jnp.uint32) for part in parts))


def actions(count, seed=3):
    return jr.uniform(jr.key(seed), (count, 3))


def test_an_episode_begins_at_a_draw_or_without_the_encoders_noise_at_its_mean():
    noisy = world(network(0))
    rules = noisy.rules._replace(sampling="denoised", encoder_variance=(0.1,) * 4)
    clear = replace(noisy, rules=rules)
    drawn, seen = (dreams.begin(chosen(0, 0, 0)).state.z for dreams in (noisy, clear))
    assert np.array_equal(seen, noisy.starts.mu[:3])
    assert not np.allclose(drawn, seen, atol=0.1)


def test_rules_are_read_as_they_were_described(tmp_path):
    plain = Rules(1.3, 7, REPEAT)
    model_file.save(tmp_path / "rnn.eqx", RNN(latent_size=3, hidden_size=4, mixtures=2, key=jr.key(0)))
    for rules in (plain, plain._replace(sampling="denoised", encoder_variance=(0.25, 0.0, 1.0))):
        files.write_json(tmp_path / "dream.json", {"rules": rules.described})
        assert playing.dream_rules(tmp_path, 1) == rules
        assert hash(playing.dream_rules(tmp_path, 1)) == hash(rules)  # JAX takes them as they are


def test_an_encoders_variance_of_another_size_is_refused(tmp_path):
    model_file.save(tmp_path / "rnn.eqx", RNN(latent_size=3, hidden_size=4, mixtures=2, key=jr.key(0)))
    rules = Rules(1.3, 7, REPEAT, "denoised", (0.25, 1.0))
    files.write_json(tmp_path / "dream.json", {"rules": rules.described})
    with pytest.raises(BadInput, match=r"encoder_variance: found 2 numbers, wanted 3"):
        playing.dream_rules(tmp_path, 1)


def test_a_step_is_the_dreams_own_under_the_chance_of_its_key():
    one, two = network(0), network(1)
    dreams = world(one, two)
    running = begin(dreams, chosen(0, 1))

    @eqx.filter_jit
    def wanted(running, action, step):
        """The step of each simulator for both episodes."""
        noise, _ = dreams.chance(jax.vmap(lambda key: jr.fold_in(key, step))(running.key))
        settled = dreams.watcher, running.state, action, noise, dreams.rules
        return [dynamics.step(simulator, *settled) for simulator in (one, two)]

    for step in range(1, 5):
        action = actions(2, step)
        after, event = advance(dreams, running, action)
        for i, (state, outcome) in enumerate(wanted(running, action, step)):
            same = jax.tree.map(lambda a, b, i=i: np.allclose(a[i], b[i], atol=1e-6), after.state, state)
            assert all(jax.tree.leaves(same))
            assert float(event.reward[i]) == pytest.approx(float(outcome.reward[i]), abs=1e-5)
        running = after


def test_a_dream_begins_at_its_start_with_nothing_remembered():
    dreams = world(network(0), warm_up_reward=15.0)
    still = eqx.tree_at(lambda d: d.starts.logvar, dreams, jnp.full((5, 4), -100.0))
    running = begin(still, chosen(0, 0, 0))
    assert np.allclose(running.state.z, still.starts.mu[:3], atol=1e-6)
    assert not any(np.any(leaf) for leaf in (*running.state.memory, *running.state.watched))
    assert np.allclose(running.score, 15.0)
    assert np.allclose(begin(dreams, chosen(0)).state.z, begin(dreams, chosen(0)).state.z, atol=0)
    assert not np.allclose(begin(dreams, chosen(0)).state.z, begin(dreams, chosen(0, seed=1)).state.z)


class Scripted(Dreams):
    """A world in which every step brings what is written, (time, batch)."""

    script: Outcome

    def _dreamt(self, running, action, noise):
        return running.state, jax.tree.map(lambda part: part[running.steps[0]], self.script)


@pytest.mark.parametrize("patience", [0, 3])
def test_an_episode_that_does_not_fail_is_what_whole_episodes_make_of_it(patience):
    """Scores and laps are those of `as_episodes` for the same outcome: cars that win some 18 points a
    step, of which half stand still for a while."""
    rewards = np.random.default_rng(0).normal(18, 2, (40, 12)).astype(np.float32)
    rewards[10:15, ::2] = FRAME_REWARD * REPEAT
    nothing = {name: jnp.zeros((40, 12)) for name in Outcome._fields}
    script = Outcome(**(nothing | {"reward": jnp.asarray(rewards)}))
    plain = world(network(0), patience=patience, warm_up_reward=300.0, horizon=40)
    fields = ("simulators", "watcher", "starts", "rules", "warm_up_frames", "horizon_steps")
    dreams = Scripted(**{name: getattr(plain, name) for name in fields}, script=script)
    running = begin(dreams, chosen(*[0] * 12))
    score, over = np.zeros(12), np.zeros(12, bool)
    for _ in range(40):
        running, event = advance(dreams, running, actions(12))
        score = np.where(over, score, running.score)
        over |= np.asarray(event.lap_finished)
    wanted = as_episodes(script, jnp.full(12, 300.0), dreams.rules, warm_up_frames=WARM_UP)
    assert np.allclose(score, wanted.score, atol=1e-2)
    assert over.tolist() == np.asarray(wanted.lap).tolist()
    assert over[1::2].all()
    assert not over[::2].any()
    assert (score[::2] < 500).all() == (patience > 0)  # stuck for good


def test_failures_come_as_often_as_they_are_expected():
    """A failure probability of a quarter: a quarter of 2,000 episodes, each fined once."""
    dreams = world(network(0, done=float(np.log(1 / 3)), reward=0.0))
    running = begin(dreams, chosen(*[0] * 2000))
    _, event = advance(dreams, running, actions(2000))
    assert abs(event.failed.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    assert np.allclose(event.reward, np.where(event.failed, FAILURE_REWARD, 0), atol=1e-5)
    assert not (event.failed & event.lap_finished).any()


def test_only_some_episodes_begin_anew_and_nothing_happens_to_them():
    dreams = world(network(0), warm_up_reward=7.0)
    running = begin(dreams, chosen(0, 0, 0))
    running, _ = advance(dreams, running, actions(3))
    alone, event = advance(dreams, running, actions(3))
    anew = jnp.array([False, True, False])
    mixed, told = play(dreams, running, actions(3), anew, chosen(0, 0, 0, seed=50))
    fresh = begin(dreams, chosen(0, 0, 0, seed=50))
    assert np.allclose(mixed.state.z, np.where(anew[:, None], fresh.state.z, alone.state.z))
    assert np.asarray(mixed.steps).tolist() == [2, 0, 2]
    assert float(mixed.score[1]) == 7.0
    assert np.allclose(told.reward, np.where(anew, 0, event.reward))
    assert not any(bool(part[1]) for part in told)


def test_the_last_step_of_a_real_episode_is_the_horizon():
    assert Environment(action_repeat=4, warm_up_frames=50).max_steps == 238
    assert Environment(action_repeat=5, warm_up_frames=50).max_steps == 190
    dreams = world(network(0), horizon=2)
    running = begin(dreams, chosen(0))
    assert dreams.frames(running).tolist() == [50]
    running, first = advance(dreams, running, actions(1))
    running, second = advance(dreams, running, actions(1))
    assert [bool(one.at_horizon[0]) for one in (first, second)] == [False, True]
    assert dreams.frames(running._replace(steps=jnp.array([238]))).tolist() == [1000]


def test_latents_are_cut_off_where_they_are_looked_at():
    memory = network(0).start(2)
    z = jnp.array([[0.5, -50.0, 3.0, 11.0]] * 2)
    seen = np.asarray(playing.features(z, memory))
    assert seen[0].tolist() == [0.5, -10, 3, 10] + [0] * 8


def archive(path, **changes):
    arrays = {
        "mu": np.zeros((3, 4), np.float32),
        "logvar": np.zeros((3, 4), np.float32),
        "warm_up_reward": np.zeros(3, np.float32),
    }
    np.savez(
        path / "starts.npz",
        **{name: array for name, array in (arrays | changes).items() if array is not None},
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": None}, "wanted first moments of drives"),
        (
            {"mu": np.zeros((3, 5), np.float32)},
            r"mu: found float32 \(3, 5\), wanted float32 \(3, 4\)",
        ),
        ({"logvar": np.full((3, 4), np.nan, np.float32)}, "logvar holds values that are not finite"),
        ({"mu": np.zeros((3, 4))}, "mu: found float64"),
        ({"mu": np.array([object()])}, "wanted first moments"),
    ],
)
def test_starts_that_fit_no_model_are_refused(tmp_path, changes, message):
    archive(tmp_path, **changes)
    with pytest.raises(BadInput, match=message):
        read_starts(tmp_path / "starts.npz", 4)


def test_starts_that_are_no_archive_are_refused(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        read_starts(tmp_path / "starts.npz", 4)
    for content in (b"", b"PK nonsense", b"text"):
        (tmp_path / "starts.npz").write_bytes(content)
        with pytest.raises(BadInput, match="wanted first moments"):
            read_starts(tmp_path / "starts.npz", 4)
    with (tmp_path / "starts.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BadInput, match="wanted first moments"):
        read_starts(tmp_path / "starts.npz", 4)


def test_starts_come_as_they_were_saved(tmp_path):
    mu = np.arange(12, dtype=np.float32).reshape(3, 4)
    archive(tmp_path, mu=mu)
    assert np.array_equal(read_starts(tmp_path / "starts.npz", 4).mu, mu)
