import json
import subprocess
import sys
import warnings
from pathlib import Path

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from wm.agent.cars import Drivers
from wm.agent.drive import CARS, Drive
from wm.agent.folder import AgentFolder
from wm.dream import playing
from wm.dream.dynamics import Rules
from wm.dream.scoring import whole_episodes
from wm.dream.starts import read_starts
from wm.envs.dream import CarRacingDream
from wm.envs.track import RealCarRacing
from wm.envs.vector import CarRacingDreams
from wm.errors import BadInput
from wm.models import vae
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.runtime import model_file
from wm.track.real_track import RealTrack
from wm.track.renderer import CarRacing, shrink

ROOT = Path(__file__).parents[1]
PRETRAINED = ROOT / "models" / "pretrained"
DREAM, REAL = "wm.envs:CarRacingDream-v0", "wm.envs:RealCarRacing-v0"
GAS = np.array([0.0, 0.5, 0.0], np.float32)


def save_agent(folder, done=-50.0, reward=0.1):
    """Saves a small untrained agent; its dreams have the failure logit `done` and `reward`, in units of 3."""
    rnn = RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(1))
    after_mixture = 3 * 4 * 2  # logits, means and sigmas
    bias = rnn.head_bias.at[after_mixture].set(reward).at[-1].set(done)
    weight = rnn.head_weight.at[:, after_mixture:].set(0)
    rnn = eqx.tree_at(lambda m: (m.head_bias, m.head_weight), rnn, (bias, weight))
    model_file.save(folder / "vae.eqx", VAE(latent_size=4, widths=(4, 4, 4, 4), key=jr.key(0)))
    model_file.save(folder / "rnn.eqx", rnn)
    model_file.save(folder / "controller.eqx", Controller(features=12))
    (folder / "environment.json").write_text('{"action_repeat": 40, "warm_up_frames": 50}')
    mu = np.asarray(jr.normal(jr.key(2), (6, 4)))
    np.savez(folder / "starts.npz", mu=mu, logvar=mu - 1, warm_up_reward=np.full(6, 10, np.float32))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_agent(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def vector(models):
    return gymnasium.make_vec(DREAM, num_envs=3, vectorization_mode="vector_entry_point", models=models)


def random_actions(count, steps=6):
    rng = np.random.default_rng(0)
    return rng.uniform([-1, 0, 0], [1, 1, 1], (steps, count, 3)).astype(np.float32)


@pytest.mark.parametrize("name", [DREAM, REAL])
@pytest.mark.parametrize("observation", ["latent", "pixels"])
def test_gymnasiums_checker_finds_no_fault(models, name, observation):
    env = gymnasium.make(name, models=models, observation=observation, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(env.unwrapped)
    env.close()


def test_dream_and_real_track_have_the_same_spaces(models):
    for observation in ("latent", "pixels"):
        dreamt, real = (
            gymnasium.make(name, models=models, observation=observation) for name in (DREAM, REAL)
        )
        assert dreamt.observation_space == real.observation_space
        assert dreamt.action_space == real.action_space == CarRacing().action_space
        assert dreamt.metadata["render_fps"] == real.metadata["render_fps"] == 50 / 40


def test_results_are_numpy_arrays_and_python_scalars(models, vector):
    env = CarRacingDream(models)
    observation, info = env.reset(seed=0)
    assert type(observation) is np.ndarray
    assert observation.flags.writeable
    assert info == {"score": 10.0, "frames": 50, "lap_finished": False}
    _, reward, terminated, truncated, info = env.step(GAS)
    assert [type(one) for one in (reward, terminated, truncated)] == [float, bool, bool]
    assert reward == pytest.approx(0.3, abs=1e-5)
    assert info["score"] == pytest.approx(10.3, abs=1e-5)
    assert info["frames"] == 90
    observations, _ = vector.reset(seed=0)
    assert observations in vector.observation_space
    _, rewards, terminations, truncations, infos = vector.step(random_actions(3)[0])
    assert [one.dtype for one in (rewards, terminations, truncations)] == [float, bool, bool]
    assert infos["score"].shape == infos["_score"].shape == (3,)


def test_seed_and_actions_determine_every_byte(vector):
    def played(seed):
        out = [vector.reset(seed=seed)[0]]
        for actions in random_actions(3):
            out += vector.step(actions)[:2]
        return b"".join(array.tobytes() for array in out)

    assert played(5) == played(5)
    assert played(5) != played(6)


def test_the_ith_of_a_vector_equals_the_single_environment_of_its_seed(models, vector):
    env = CarRacingDream(models)
    single = [env.reset(seed=7 + 2)[0]] + [env.step(actions[2])[0] for actions in random_actions(3)]
    many = [vector.reset(seed=7)[0]] + [vector.step(actions)[0] for actions in random_actions(3)]
    assert np.allclose(single, [observations[2] for observations in many], atol=1e-5)
    assert np.allclose(vector.reset(seed=[3, 4, 9])[0][2], single[0], atol=1e-6)


def test_without_a_seed_dreams_differ(models):
    env = CarRacingDream(models)
    env.reset(seed=0)
    assert not np.array_equal(env.reset()[0], env.reset()[0])


def test_the_step_after_the_end_resets_an_episode(models):
    """The horizon is 2 steps: the second ends the episode, and the third resets it, with a reward of 0."""
    many = gymnasium.make_vec(DREAM, num_envs=2, models=models, horizon_steps=2)
    assert many.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    many.reset(seed=0)
    results = [many.step(actions) for actions in random_actions(2, steps=5)]
    assert [truncations.tolist() for _, _, _, truncations, _ in results] == [
        [over] * 2 for over in (False, True, False, False, True)
    ]
    assert not any(terminations.any() for _, _, terminations, _, _ in results)
    assert results[2][1].tolist() == [0, 0]
    assert [info["frames"].tolist()[0] for *_, info in results] == [90, 130, 50, 90, 130]
    single = CarRacingDream(models, horizon_steps=2)
    single.reset(seed=0)
    assert [single.step(GAS)[3] for _ in range(2)] == [False, True]
    again, _ = single.reset()
    assert np.allclose(results[2][0][0], again, atol=1e-6)  # from the seed's random numbers, as for a reset


def test_a_mask_resets_only_its_episodes(vector):
    vector.reset(seed=0)
    before = vector.step(random_actions(3)[0])[0]
    mask = np.array([False, True, False])
    after, info = vector.reset(options={"reset_mask": mask})
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert info["_score"].tolist() == mask.tolist()
    assert vector.step(random_actions(3)[1])[4]["frames"].tolist() == [130, 90, 130]
    with pytest.raises(ValueError, match="reset_mask: found shape"):
        vector.reset(options={"reset_mask": mask[:2]})


def test_a_failure_terminates_and_is_fined(tmp_path):
    env = CarRacingDream(save_agent(tmp_path, done=50.0))
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(GAS)
    assert (reward, terminated, truncated) == (-100.0, True, False)
    assert info == {"score": -90.0, "frames": 90, "lap_finished": False}
    with pytest.raises(ResetNeeded):
        env.step(GAS)


def test_a_complete_lap_terminates(tmp_path):
    """15 tile points in the warm-up and 604 in each step: the second step completes the lap."""
    env = CarRacingDream(save_agent(tmp_path, reward=200.0))
    env.reset(seed=0)
    ends = [env.step(GAS) for _ in range(2)]
    assert [terminated for _, _, terminated, _, _ in ends] == [False, True]
    assert [info["lap_finished"] for *_, info in ends] == [False, True]
    assert ends[1][4]["score"] == pytest.approx(1210, abs=1e-2)


@pytest.mark.parametrize("wrong", [[2.0, 0, 0], [0, -0.1, 0], [0, 0, np.nan], [0, 0], [[0, 0, 0]]])
def test_an_invalid_action_is_refused(models, vector, wrong):
    for name in (DREAM, REAL):
        env = gymnasium.make(name, models=models).unwrapped
        env.reset(seed=0)
        with pytest.raises(ValueError, match="action"):
            env.step(np.array(wrong, np.float32))
    vector.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        vector.step(np.array([wrong] * 3, np.float32))


def test_pixels_are_the_decoded_latent_and_rendered_enlarged(models):
    env = CarRacingDream(models, observation="pixels", render_mode="rgb_array")
    observation, _ = env.reset(seed=4)
    latent, _ = CarRacingDream(models).reset(seed=4)
    decoded = vae.decode(env.player.view.agent.vae, jnp.asarray(latent[None, :4]))[0]
    assert np.abs(observation - 255 * np.asarray(decoded)).max() <= 0.51
    picture = env.render()
    assert picture is not None
    assert np.array_equal(picture[::4, ::4], observation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": "nowhere"}, "nowhere/vae.eqx: not found"),
        ({"observation": "words"}, "observation: found 'words', expected one of latent, pixels"),
        ({"render_mode": "human"}, "render_mode: found 'human'"),
        ({"temperature": 0.0}, "temperature: found 0.0, expected a number above 0"),
        ({"temperature": float("nan")}, "temperature: found nan"),
        ({"horizon_steps": 0}, "horizon_steps: found 0, expected a whole number of 1 or more"),
        ({"start_seeds": []}, r"start_seeds: found \[\]"),
        ({"start_seeds": [-1]}, r"start_seeds: found \[-1\]"),
    ],
)
def test_wrong_options_are_named(models, options, message):
    with pytest.raises(BadInput, match=message):
        CarRacingDream(**({"models": models} | options))


def test_an_unknown_option_is_named(models):
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(
            BadInput,
            match=r"^CarRacingDreams?: option: found 'temperatur', .* Did you mean temperature\?",
        ):
            make(DREAM, models=models, temperatur=1.0)
    expected = "^RealCarRacing: option: found 'obs', expected one of models, observation, "
    with pytest.raises(BadInput, match=expected):
        gymnasium.make("wm.envs:RealCarRacing-v0", models=models, obs=1)


UNCHECKED = """
import sys
import numpy as np

from wm.envs.vector import CarRacingDreams
from wm.errors import BadInput

for options in ({"temperature": "hot"}, {"horizon_steps": 2.5}, {"start_seeds": 7}, {"num_envs": 2.5}):
    try:
        CarRacingDreams(**{"num_envs": 2, "models": sys.argv[1]} | options)
    except BadInput as error:
        print(error)
vector = CarRacingDreams(2, models=sys.argv[1])
print(np.array_equal(vector.reset(seed=np.int64(3))[0], vector.reset(seed=3)[0]))
try:
    vector.reset(seed=1.5)
except ValueError as error:
    print(error)
"""


def test_options_of_a_wrong_type_are_named_in_programs(models):
    """The tests check the types of all arguments; programs do not, so the environments must."""
    command = [sys.executable, "-c", UNCHECKED, str(models)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        "CarRacingDream: temperature: found 'hot', expected a number above 0",
        "CarRacingDream: horizon_steps: found 2.5, expected a whole number of 1 or more",
        "CarRacingDream: start_seeds: found 7, expected at least one seed, each a whole number of 0 or more",
        "CarRacingDream: num_envs: found 2.5, expected a whole number of 1 or more",
        "True",
        "CarRacingDreams.reset: seed: found 1.5, expected a whole number, or 2, one per dream",
    ]


def test_seeds_and_masks_may_be_lists(models):
    vector = CarRacingDreams(2, models=models)
    first = vector.reset(seed=3)[0]
    assert np.array_equal(vector.reset(seed=[3, 4], options={"reset_mask": [True, True]})[0], first)
    with pytest.raises(ValueError, match=r"seed: found \[1\], expected a whole number, or 2, one per dream"):
        vector.reset(seed=[1])


def test_the_real_track_needs_a_reset_like_the_dream(models):
    env = RealCarRacing(models, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="step: the episode is over"):
        env.step(np.zeros(3, np.float32))
    with pytest.raises(ResetNeeded, match="render: no episode"):
        env.render()
    env.close()


def test_dreams_start_on_given_tracks_and_follow_the_agents_rules(models, tmp_path):
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rules = {"temperature": 1.3, "stuck_steps": 7, "action_repeat": 40}
    (tmp_path / "dream.json").write_text(json.dumps({"rules": rules}))
    (tmp_path / "starts.npz").unlink()
    with pytest.raises(BadInput, match=r"starts\.npz: not found"):
        CarRacingDream(tmp_path)
    dreams = CarRacingDream(tmp_path, start_seeds=[11]).player.dreams
    assert dreams.dream.rules == Rules(temperature=1.3, stuck_steps=7, action_repeat=40)
    assert dreams.horizon_steps == 24  # 950 frames, 40 per step
    track = RealTrack(40, 50)
    first = track.reset(11)
    mu, _ = vae.encode(model_file.load(tmp_path / "vae.eqx", VAE), jnp.asarray(shrink(first.pixels))[None])
    assert np.allclose(dreams.starts.mu, mu, atol=1e-6)
    assert np.allclose(dreams.starts.warm_up_reward, first.reward)


def controlled(controller, latent_size):
    return eqx.filter_jit(
        lambda features: eqx.filter_vmap(controller)(features[:, :latent_size], features[:, latent_size:])
    )


def test_the_published_agent_scores_as_in_whole_episodes():
    """The means of 320 episodes each differ by less than three standard errors."""
    count = 320
    many = CarRacingDreams(count, models=PRETRAINED)
    dreams, agent = many.player.dreams, AgentFolder(PRETRAINED).agent()
    act = controlled(agent.controller, agent.rnn.latent_size)
    features, _ = many.reset(seed=0)
    scores, frames, running = np.zeros(count), np.zeros(count), np.ones(count, bool)
    while running.any():
        features, _, terminated, truncated, info = many.step(np.asarray(act(features)))
        scores = np.where(running, info["score"], scores)
        frames = np.where(running, info["frames"], frames)
        running &= ~(terminated | truncated)
    drawn = dreams.starts.draw(count, seed=1)
    whole = whole_episodes(dreams.dream, agent.controller, drawn, jr.key(1))
    for played, computed in ((scores, whole.score), (frames, whole.frames)):
        computed = np.asarray(computed)
        error = np.sqrt((played.var() + computed.var()) / count)
        assert abs(played.mean() - computed.mean()) < 3 * error
        assert error < 15


def test_the_published_agent_drives_the_real_track_as_in_evaluation():
    """The first 30 steps of a track have the actions and rewards of `wm evaluate`."""
    seed, agent = 900003, AgentFolder(PRETRAINED).agent()
    timing = AgentFolder(PRETRAINED).timing()
    track = RealTrack(timing.action_repeat, timing.warm_up_frames)
    drivers = Drivers(agent)
    drivers.start(0, Drive(seed))
    env = RealCarRacing(PRETRAINED)
    act = controlled(agent.controller, agent.rnn.latent_size)
    observation = track.reset(seed)
    features, info = env.reset(seed=seed)
    assert info["score"] == observation.reward
    for _ in range(30):
        expected = drivers.act(np.stack([shrink(observation.pixels)] * CARS))[0]
        action = np.asarray(act(features[None]))[0]
        assert np.allclose(action, expected, atol=1e-5)
        observation = track.step(expected)
        features, reward, *_ = env.step(expected)
        assert reward == observation.reward
    assert np.allclose(features[: agent.rnn.latent_size], encoded(agent, observation), atol=1e-6)


def encoded(agent, observation):
    return vae.encode(agent.vae, jnp.asarray(shrink(observation.pixels))[None])[0][0]


def test_the_published_starts_fit_the_published_models():
    starts = read_starts(PRETRAINED / "starts.npz", AgentFolder(PRETRAINED).agent().rnn.latent_size)
    assert len(starts.mu) == 70  # validation drives of its data
    assert np.abs(starts.mu).max() < playing.Z_LIMIT / 2
