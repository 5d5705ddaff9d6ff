from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.agent.folder import AgentFolder
from wm.dream import dynamics, playing
from wm.dream.dynamics import Dream, Outcome, Rules, Simulation
from wm.dream.playing import Dreams, Setup
from wm.dream.scoring import as_episodes
from wm.dream.starts import StartFrames, read_starts
from wm.errors import BadInput
from wm.models.rnn import RNN
from wm.runtime import files
from wm.spec import FAILURE_REWARD, FRAME_REWARD, Timing

REPEAT, WARM_UP = 4, 50
REWARD_HEAD = 3 * 4 * 3  # its index, after the mixtures' logits, means and sigmas

begin = eqx.filter_jit(Dreams.begin)
advance = eqx.filter_jit(playing.advance)
advance_or_begin = eqx.filter_jit(Dreams.advance_or_begin)
settle = eqx.filter_jit(playing.settle)


def network(seed, done=-50.0, reward=None):
    """A small RNN with the given failure logit (and reward, in its units)."""
    model = RNN(latent_size=4, hidden_size=8, mixtures=3, key=jr.key(seed))
    bias = model.head_bias.at[-1].set(done)
    weight = model.head_weight.at[:, -1].set(0)
    if reward is not None:
        bias, weight = bias.at[REWARD_HEAD].set(reward), weight.at[:, REWARD_HEAD].set(0)
    return eqx.tree_at(lambda m: (m.head_bias, m.head_weight), model, (bias, weight))


def playable(*simulators, stuck_steps=0, warm_up_reward=0.0, horizon=20):
    mu = jr.normal(jr.key(1), (5, 4))
    starts = StartFrames(mu, jnp.full_like(mu, -1.0), jnp.full(5, warm_up_reward))
    rules = Rules(temperature=1.0, stuck_steps=stuck_steps, action_repeat=REPEAT)
    return Dreams(Dream(list(simulators), network(9), rules, WARM_UP), starts, horizon)


def setup(*simulators, seed=0):
    """One episode for each of `simulators`, from different start frames."""
    count = len(simulators)
    parts = (np.arange(count) % 5, simulators, np.arange(seed, seed + count))
    return Setup(*(jnp.array(part, jnp.uint32) for part in parts))


def actions(count, seed=3):
    return jr.uniform(jr.key(seed), (count, 3))


def test_an_episode_starts_at_a_sample_or_if_denoised_at_the_encoders_mean():
    noisy = playable(network(0))
    rules = noisy.dream.rules.replace(sampling="denoised", encoder_variance=(0.1,) * 4)
    clear = replace(noisy, dream=replace(noisy.dream, rules=rules))
    drawn, mean = (dreams.begin(setup(0, 0, 0)).state.z for dreams in (noisy, clear))
    assert np.array_equal(mean, noisy.starts.mu[:3])
    assert not np.allclose(drawn, mean, atol=0.1)


def test_rules_of_early_agents_are_read():
    early = {"temperature": 1.3, "patience": 7, "action_repeat": REPEAT}
    assert Rules.model_validate(early) == Rules(temperature=1.3, stuck_steps=7, action_repeat=REPEAT)
    with pytest.raises(ValueError, match="patience"):
        Rules.model_validate(early | {"stuck_steps": 7})


def test_rules_are_read_as_they_were_stored(tmp_path):
    plain = Rules(temperature=1.3, stuck_steps=7, action_repeat=REPEAT)
    assert plain.stored == {
        "temperature": 1.3,
        "stuck_steps": 7,
        "action_repeat": REPEAT,
        "sampling": "sampled",
    }
    denoised = plain.replace(sampling="denoised", encoder_variance=(0.25, 0.0, 1.0), noisy_simulator=True)
    for rules in (plain, denoised):
        files.write_json(tmp_path / "dream.json", {"rules": rules.stored})
        read = AgentFolder(tmp_path).rules(latent_size=3)
        assert read == rules
        assert hash(read) == hash(rules)  # so JAX takes them as static values


def test_an_encoders_variance_of_another_size_is_refused(tmp_path):
    rules = Rules(
        temperature=1.3,
        stuck_steps=7,
        action_repeat=REPEAT,
        sampling="denoised",
        encoder_variance=(0.25, 1.0),
    )
    files.write_json(tmp_path / "dream.json", {"rules": rules.stored})
    with pytest.raises(BadInput, match=r"encoder_variance: found 2 numbers, expected 3"):
        AgentFolder(tmp_path).rules(latent_size=3)


def test_changed_rules_are_validated():
    with pytest.raises(ValueError, match="temperature"):
        Rules(temperature=1.0, stuck_steps=0, action_repeat=4).replace(temperature=0.0)


def test_a_step_is_the_dynamics_step_with_the_random_numbers_of_its_key():
    one, two = network(0), network(1)
    dream = playable(one, two).dream
    running = begin(playable(one, two), setup(0, 1))

    @eqx.filter_jit
    def expected(running, action, step):
        """The step of each simulator for both episodes."""
        noise, _ = playing.chance(dream, jax.vmap(lambda key: jr.fold_in(key, step))(running.key))
        return [
            dynamics.step(Simulation(simulator, dream.watcher, dream.rules), running.state, action, noise)
            for simulator in (one, two)
        ]

    for step in range(1, 5):
        action = actions(2, step)
        after, result = advance(dream, running, action)
        for i, (state, outcome) in enumerate(expected(running, action, step)):
            same = jax.tree.map(lambda a, b, i=i: np.allclose(a[i], b[i], atol=1e-6), after.state, state)
            assert all(jax.tree.leaves(same))
            assert float(result.reward[i]) == pytest.approx(float(outcome.reward[i]), abs=1e-5)
        running = after


def test_an_episode_starts_with_empty_memories():
    dreams = playable(network(0), warm_up_reward=15.0)
    still = eqx.tree_at(lambda d: d.starts.logvar, dreams, jnp.full((5, 4), -100.0))
    running = begin(still, setup(0, 0, 0))
    assert np.allclose(running.state.z, still.starts.mu[:3], atol=1e-6)
    assert not any(np.any(leaf) for leaf in (*running.state.memory, *running.state.watched))
    assert np.allclose(running.score, 15.0)
    assert np.allclose(begin(dreams, setup(0)).state.z, begin(dreams, setup(0)).state.z, atol=0)
    assert not np.allclose(begin(dreams, setup(0)).state.z, begin(dreams, setup(0, seed=1)).state.z)


@pytest.mark.parametrize("stuck_steps", [0, 3])
def test_an_episode_without_failure_has_the_score_of_a_whole_episode(stuck_steps):
    """Cars that collect about 18 points per step, every second of which stands still for a while."""
    rewards = np.random.default_rng(0).normal(18, 2, (40, 12)).astype(np.float32)
    rewards[10:15, ::2] = FRAME_REWARD * REPEAT
    nothing = jnp.zeros((40, 12))
    script = Outcome(jnp.asarray(rewards), nothing, nothing)
    dreams = playable(network(0), stuck_steps=stuck_steps, warm_up_reward=300.0, horizon=40)
    running, over = begin(dreams, setup(*[0] * 12)), np.zeros(12, bool)
    for step in range(40):
        outcome = jax.tree.map(lambda part, step=step: part[step], script)
        running, result = settle(running, outcome, jnp.full(12, 0.5), dreams.dream.rules)
        over |= np.asarray(result.lap_finished)
    whole = as_episodes(script, jnp.full(12, 300.0), dreams.dream.rules, warm_up_frames=WARM_UP)
    assert np.allclose(running.score, whole.score, atol=1e-2)
    assert over.tolist() == np.asarray(whole.lap).tolist()
    assert np.asarray(running.progress.frames).tolist() == np.asarray(whole.frames).tolist()
    assert over[1::2].all()
    assert not over[::2].any()
    assert (running.score[::2] < 500).all() == (stuck_steps > 0)


def test_failures_are_as_frequent_as_predicted():
    """A failure probability of a quarter: a quarter of 2,000 episodes, each fined once."""
    dreams = playable(network(0, done=float(np.log(1 / 3)), reward=0.0))
    running = begin(dreams, setup(*[0] * 2000))
    _, result = advance(dreams.dream, running, actions(2000))
    assert abs(result.failed.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    assert np.allclose(result.reward, np.where(result.failed, FAILURE_REWARD, 0), atol=1e-5)
    assert not (result.failed & result.lap_finished).any()


def test_episodes_of_the_mask_begin_and_the_others_advance():
    dreams = playable(network(0), warm_up_reward=7.0)
    running = begin(dreams, setup(0, 0, 0))
    running, _ = advance(dreams.dream, running, actions(3))
    alone, result = advance(dreams.dream, running, actions(3))
    begins = jnp.array([False, True, False])
    mixed, mixed_result = advance_or_begin(dreams, running, actions(3), begins, setup(0, 0, 0, seed=50))
    fresh = begin(dreams, setup(0, 0, 0, seed=50))
    assert np.allclose(mixed.state.z, np.where(begins[:, None], fresh.state.z, alone.state.z))
    assert np.asarray(mixed.progress.steps).tolist() == [2, 0, 2]
    assert float(mixed.score[1]) == 7.0
    assert np.allclose(mixed_result.reward, np.where(begins, 0, result.reward))
    assert not any(bool(part[1]) for part in mixed_result)


def test_the_longest_dream_has_the_frames_of_a_real_episode():
    for repeat, steps in ((4, 238), (5, 190)):
        timing = Timing(action_repeat=repeat, warm_up_frames=50)
        rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=repeat)
        assert Dream([], network(9), rules, 50).max_steps == timing.max_steps == steps
    dreams = playable(network(0), horizon=2)
    running = begin(dreams, setup(0))
    assert running.progress.frames.tolist() == [50]
    running, _ = advance(dreams.dream, running, actions(1))
    assert not dreams.at_horizon(running)[0]
    running, _ = advance(dreams.dream, running, actions(1))
    assert dreams.at_horizon(running)[0]
    late = running._replace(progress=running.progress._replace(frames=jnp.array([998])))
    assert advance(dreams.dream, late, actions(1))[0].progress.frames.tolist() == [1000]


def test_nothing_counts_after_the_lap():
    """The second step completes the lap; later rewards, missed tiles and frames do not count."""
    rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=REPEAT)
    progress = dynamics.begin(jnp.array([900.0]), WARM_UP, rules)
    step = Outcome(jnp.array([50.0]), jnp.array([0.25]), jnp.array([0.5]))
    counted = []
    for _ in range(4):
        progress, outcome = dynamics.count(progress, step, rules)
        counted.append([float(part[0]) for part in outcome])
    assert counted == [[50, 0.25, 0.5], [50, 0.25, 0.5], [0, 0, 0], [0, 0, 0]]
    assert (int(progress.steps[0]), int(progress.frames[0])) == (2, WARM_UP + 2 * REPEAT)
    assert bool(progress.lap[0])


def test_latents_are_clipped_in_observations():
    memory = network(0).start(2)
    z = jnp.array([[0.5, -50.0, 3.0, 11.0]] * 2)
    observed = np.asarray(playing.features(z, memory))
    assert observed[0].tolist() == [0.5, -10, 3, 10] + [0] * 8


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
        ({"mu": None}, "expected start frames"),
        (
            {"mu": np.zeros((3, 5), np.float32)},
            r"mu: found float32 \(3, 5\), expected float32 \(3, 4\)",
        ),
        ({"logvar": np.full((3, 4), np.nan, np.float32)}, "logvar: found values that are not finite"),
        ({"mu": np.zeros((3, 4))}, "mu: found float64"),
        ({"mu": np.array([object()])}, "expected start frames"),
    ],
)
def test_start_frames_of_other_sizes_are_refused(tmp_path, changes, message):
    archive(tmp_path, **changes)
    with pytest.raises(BadInput, match=message):
        read_starts(tmp_path / "starts.npz", 4)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not found"):
        read_starts(tmp_path / "starts.npz", 4)
    for content in (b"", b"PK nonsense", b"text"):
        (tmp_path / "starts.npz").write_bytes(content)
        with pytest.raises(BadInput, match="expected start frames"):
            read_starts(tmp_path / "starts.npz", 4)
    with (tmp_path / "starts.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BadInput, match="expected start frames"):
        read_starts(tmp_path / "starts.npz", 4)


def test_start_frames_are_read_as_they_were_saved(tmp_path):
    mu = np.arange(12, dtype=np.float32).reshape(3, 4)
    archive(tmp_path, mu=mu)
    assert np.array_equal(read_starts(tmp_path / "starts.npz", 4).mu, mu)
