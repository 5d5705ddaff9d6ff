"""Gymnasium's wrappers over the dream and the real track, one at a time and in parallel."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from test_envs import DREAM, REAL, save_agent

LATENT = spaces.Box(-20, 20, (12,), np.float32)
CONTINUOUS = spaces.Box(-2, 2, (3,), np.float32)
LOW, HIGH = np.full(12, -1, np.float32), np.full(12, 1, np.float32)

SINGLE = {
    "AddRenderObservation": {},
    "Autoreset": {},
    "ClipAction": {},
    "ClipReward": {"min_reward": -1, "max_reward": 1},
    "DelayObservation": {"delay": 1},
    "DiscretizeAction": {"bins": 3},
    "DiscretizeObservation": {"bins": 3, "multidiscrete": True},
    "DtypeObservation": {"dtype": np.float64},
    "FlattenObservation": {},
    "FrameStackObservation": {"stack_size": 2},
    "MaxAndSkipObservation": {"skip": 2},
    "NormalizeObservation": {},
    "NormalizeReward": {},
    "OrderEnforcing": {},
    "PassiveEnvChecker": {},
    "RecordEpisodeStatistics": {},
    "RenderCollection": {},
    "RepeatAction": {"num_repeats": 2},
    "RescaleAction": {"min_action": np.float32(-1), "max_action": np.float32(1)},
    "RescaleObservation": {"min_obs": LOW, "max_obs": HIGH},
    "ReshapeObservation": {"shape": (3, 4)},
    "StickyAction": {"repeat_action_probability": 0.5},
    "TimeLimit": {"max_episode_steps": 2},
    "TransformAction": {"func": lambda action: np.clip(action, 0, 1), "action_space": CONTINUOUS},
    "TransformObservation": {"func": lambda latent: 2 * latent, "observation_space": LATENT},
    "TransformReward": {"func": lambda reward: 2 * reward},
}
SINGLE_PIXELS = {
    "AddWhiteNoise": {"probability_of_noise_per_pixel": 0.5},
    "GrayscaleObservation": {},
    "ObstructView": {"obstructed_pixels_ratio": 0.5, "obstruction_width": 8},
    "ResizeObservation": {"shape": (32, 32)},
}
# A display; frames of Atari; dictionaries as observations; conversions of arrays, which need a package that
# is not installed; and RecordVideo, in test_gymnasium.py.
OTHER = {"vector", "HumanRendering", "AtariPreprocessing", "FilterObservation", "RecordVideo"}
OTHER |= {"ArrayConversion", "JaxToNumpy", "JaxToTorch", "NumpyToTorch"}

MANY = {
    "ClipAction": {},
    "ClipReward": {"min_reward": -1, "max_reward": 1},
    "DictInfoToList": {},
    "DtypeObservation": {"dtype": np.float64},
    "FlattenObservation": {},
    "NormalizeObservation": {},
    "NormalizeReward": {},
    "RecordEpisodeStatistics": {},
    "RescaleAction": {"min_action": np.float32(-1), "max_action": np.float32(1)},
    "RescaleObservation": {"min_obs": LOW, "max_obs": HIGH},
    "ReshapeObservation": {"shape": (3, 4)},
    "TransformAction": {"func": lambda actions: np.clip(actions, 0, 1)},
    "TransformObservation": {"func": lambda latents: latents / 2},
    "TransformReward": {"func": lambda rewards: 2 * rewards},
    "VectorizeTransformAction": {
        "wrapper": wrappers.TransformAction,
        "func": lambda action: np.clip(action, 0, 1),
        "action_space": CONTINUOUS,
    },
    "VectorizeTransformObservation": {
        "wrapper": wrappers.TransformObservation,
        "func": lambda latent: 2 * latent,
        "observation_space": LATENT,
    },
    "VectorizeTransformReward": {"wrapper": wrappers.TransformReward, "func": lambda reward: 2 * reward},
}
MANY_PIXELS = {"GrayscaleObservation": {}, "ResizeObservation": {"shape": (32, 32)}}
OTHER_MANY = OTHER - {"vector", "AtariPreprocessing"}

BOTH = pytest.mark.parametrize("name", [DREAM, REAL])


def cases(latent, pixels):
    """Parameters of a test: the observation, the wrapper's name and its arguments."""
    return [
        pytest.param(observation, wrapper, options, id=wrapper)
        for observation, table in (("latent", latent), ("pixels", pixels))
        for wrapper, options in table.items()
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_agent(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def make(models):
    """Makes an environment at most once."""
    made = {}

    def make(function, name, observation, **options):
        key = (function.__name__, name, observation)
        if key not in made:
            options |= {"models": models, "observation": observation, "render_mode": "rgb_array"}
            made[key] = function(name, **options)
        return made[key]

    return make


@BOTH
@pytest.mark.parametrize(("observation", "wrapper", "options"), cases(SINGLE, SINGLE_PIXELS))
def test_a_wrapped_environment_is_played(make, name, observation, wrapper, options):
    env = getattr(wrappers, wrapper)(make(gymnasium.make, name, observation), **options)
    env.action_space.seed(0)
    for observed in (env.reset(seed=0)[0], env.step(env.action_space.sample())[0]):
        assert np.asarray(observed).shape == env.observation_space.shape
        assert observed in env.observation_space
    assert env.render() is not None


@BOTH
def test_an_observation_tells_the_time(models, name):
    env = wrappers.TimeAwareObservation(gymnasium.make(name, models=models, max_episode_steps=5))
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[0] in env.observation_space


@BOTH
@pytest.mark.parametrize(("observation", "wrapper", "options"), cases(MANY, MANY_PIXELS))
def test_wrapped_parallel_environments_are_played(make, name, observation, wrapper, options):
    envs = getattr(wrappers.vector, wrapper)(
        make(gymnasium.make_vec, name, observation, num_envs=2), **options
    )
    envs.action_space.seed(0)
    for observed in (envs.reset(seed=0)[0], envs.step(envs.action_space.sample())[0]):
        assert np.asarray(observed).shape == envs.observation_space.shape
        assert observed in envs.observation_space


def test_no_wrapper_of_gymnasium_is_forgotten():
    assert {*SINGLE, *SINGLE_PIXELS, *OTHER, "TimeAwareObservation"} == set(wrappers.__all__)
    assert {*MANY, *MANY_PIXELS, *OTHER_MANY} == set(wrappers.vector.__all__)
