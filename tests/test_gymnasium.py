"""Gymnasium's conventions: specs, copies, options of reset, wrappers."""

import copy
import importlib.util
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec
from test_envs import DREAM, GAS, REAL, random_actions, save_agent

from wm.envs.dream import CarRacingDream
from wm.envs.replayable import ReplayableTrack
from wm.envs.track import RealCarRacing
from wm.envs.vector import CarRacingDreams
from wm.errors import BadInput

BOTH = pytest.mark.parametrize("name", [DREAM, REAL])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_agent(tmp_path_factory.mktemp("models"))


@BOTH
@pytest.mark.parametrize("mode", [None, "sync"])
def test_vector_environments_take_a_limit_of_steps(models, name, mode):
    vector = gymnasium.make_vec(name, num_envs=2, vectorization_mode=mode, models=models, max_episode_steps=2)
    vector.reset(seed=0)
    assert [vector.step(actions)[3].tolist() for actions in random_actions(2, steps=2)] == [
        [False, False],
        [True, True],
    ]


def test_the_lower_limit_of_steps_holds(models):
    def steps(**limits):
        return CarRacingDreams(1, models=models, **limits).player.dreams.horizon_steps

    assert steps(max_episode_steps=3, horizon_steps=5) == steps(max_episode_steps=5, horizon_steps=3) == 3
    assert steps(max_episode_steps=-1) == steps(max_episode_steps=1000) == steps() == 24
    with pytest.raises(BadInput, match="max_episode_steps: found 0, expected a whole number of 1 or more"):
        steps(max_episode_steps=0)


@BOTH
def test_vector_environments_know_their_seeds(models, name):
    vector: Any = gymnasium.make_vec(name, num_envs=2, models=models)
    vector.reset(seed=5)
    assert vector.np_random_seed == (5, 6)
    states = [rng.bit_generator.state["state"]["inc"] for rng in vector.np_random]
    assert states == [np.random.default_rng(seed).bit_generator.state["state"]["inc"] for seed in (5, 6)]
    if name == DREAM:
        vector.reset(seed=[7, 8], options={"reset_mask": np.array([False, True])})
        assert vector.np_random_seed == (5, 8)


@BOTH
def test_a_spec_becomes_json_and_an_environment_again(models, name):
    options: Any = {"start_seeds": range(3, 5)} if name == DREAM else {}
    env: Any = gymnasium.make(name, models=Path(models), observation="pixels", **options)
    spec = EnvSpec.from_json(env.spec.to_json())
    assert spec.kwargs["models"] == str(models)
    again = gymnasium.make(spec)
    assert again.spec == env.spec
    assert np.array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])


def test_the_spec_of_a_vector_becomes_json_and_a_vector_again(models):
    vector: Any = gymnasium.make_vec(DREAM, num_envs=2, models=Path(models), start_seeds=range(3, 5))
    again = gymnasium.make_vec(EnvSpec.from_json(vector.spec.to_json()))
    assert again.spec == vector.spec
    assert np.array_equal(again.reset(seed=1)[0], vector.reset(seed=1)[0])


def copies(env: Any) -> list[Any]:
    pickler: Any = ForkingPickler  # as for a worker process
    return [copy.deepcopy(env), pickler.loads(pickler.dumps(env))]


def outcomes(env, actions):
    """What an environment returns for the actions, and for a reset after them, as bytes and numbers."""
    results = [env.step(action) for action in actions]
    results.append(env.reset())
    return [(observation.tobytes(), *rest) for observation, *rest in results]


@BOTH
@pytest.mark.parametrize("observation", ["latent", "pixels"])
def test_copies_in_the_middle_of_an_episode_go_on_independently(models, name, observation):
    env = gymnasium.make(name, models=models, observation=observation, render_mode="rgb_array")
    env.reset(seed=3)
    before, after, other = random_actions(1, steps=9)[:, 0].reshape(3, 3, 3)
    for action in before:
        env.step(action)
        action[:] = 0  # belongs to the caller
    one, two, original = *copies(env), copy.deepcopy(env)
    pictures: Any = one.render(), env.render()
    assert np.array_equal(*pictures)
    outcomes(env, other)
    expected = outcomes(original, after)
    assert outcomes(one, after) == outcomes(two, after) == expected
    assert outcomes(copy.deepcopy(env), before) == outcomes(env, before)  # after the second episode began


@BOTH
def test_copies_before_the_start_and_after_the_end_behave_like_the_original(models, name):
    env = gymnasium.make(name, models=models).unwrapped
    for one in copies(env):
        with pytest.raises(gymnasium.error.ResetNeeded):
            one.step(GAS)
        assert np.array_equal(one.reset(seed=2)[0], env.reset(seed=2)[0])
    over = False
    while not over:
        _, _, terminated, truncated, _ = env.step(np.array([0, 0, 1], np.float32))
        over = terminated or truncated
    for one in copies(env):
        with pytest.raises(gymnasium.error.ResetNeeded):
            one.step(GAS)
        assert np.array_equal(one.reset(seed=2)[0], env.reset(seed=2)[0])


def test_copies_of_parallel_dreams_go_on_independently(models):
    vector = CarRacingDreams(2, models=models, horizon_steps=2)
    vector.reset(seed=0)
    vector.step(random_actions(2)[0])
    one, two = copies(vector)
    played = [
        b"".join(dreams.step(actions)[0].tobytes() for actions in random_actions(2, steps=4))
        for dreams in (vector, one, two)
    ]
    assert played[0] == played[1] == played[2]


def test_the_actions_of_a_real_drive_determine_what_a_copy_of_the_track_draws():
    track = ReplayableTrack(action_repeat=4, warm_up_frames=10)
    track.reset(7)
    for action in random_actions(1, steps=20)[:, 0]:
        track.step(action)
    (first, second), expected = copies(track), track.step(GAS)
    for observation in (first.step(GAS), second.step(GAS)):
        assert np.array_equal(observation.pixels, expected.pixels)
        assert observation[1:] == expected[1:]
    assert (first.speed, first.heading) == (track.speed, track.heading)


def test_an_option_of_reset_chooses_the_start_frame(models):
    env, vector = CarRacingDream(models), CarRacingDreams(2, models=models)
    first = [env.reset(seed=0, options={"start": start})[0] for start in (1, 2, 1)]
    assert np.array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])
    assert env.reset(seed=0)[0] in env.observation_space
    both = vector.reset(seed=[0, 0], options={"start": np.array([2, 1])})[0]
    assert np.allclose(both, [first[1], first[0]], atol=1e-6)
    both = vector.reset(seed=[0, 0], options={"start": 1})[0]
    assert np.allclose(both, [first[0], first[0]], atol=1e-6)


@pytest.mark.parametrize("start", [6, -1, 1.0, "1", [0, 1, 2], True])
def test_a_start_that_does_not_exist_is_refused(models, start):
    expected = "start: found .*, expected a whole number of 0 or more and less than 6"
    for env, several in [
        (CarRacingDream(models), ""),
        (CarRacingDreams(2, models=models), ", or 2, one per dream"),
    ]:
        with pytest.raises(ValueError, match=f"{expected}{several}$"):
            env.reset(options={"start": start})


def test_unknown_options_of_reset_are_refused(models):
    for env, option, expected in [
        (CarRacingDream(models), "starts", r"one of start\. Did you mean start\?"),
        (CarRacingDreams(1, models=models), "masks", r"one of reset_mask, start"),
        (RealCarRacing(models), "start", r"none\. The seed chooses the track\."),
    ]:
        message = rf"^{type(env).__name__}\.reset: option: found '{option}', expected {expected}$"
        with pytest.raises(ValueError, match=message):
            env.reset(options={option: 1})


def test_the_speed_and_turning_of_the_real_car_are_in_info(models):
    env = RealCarRacing(models)
    env.reset(seed=0)
    *_, right = env.step(np.array([1, 0.5, 0], np.float32))
    assert right["angular_velocity"] < -0.1  # to the right is clockwise
    for _ in range(4):
        *_, braked = env.step(np.array([0, 0, 1], np.float32))
    assert right["speed"] > 10
    assert braked["speed"] < 1


@BOTH
def test_a_video_is_recorded_or_the_missing_package_named(models, name, tmp_path):
    env = gymnasium.make(name, models=models, render_mode="rgb_array")
    if importlib.util.find_spec("moviepy") is None:
        with pytest.raises(gymnasium.error.DependencyNotInstalled, match=r"(?i)moviepy is not installed"):
            wrappers.RecordVideo(env, str(tmp_path))
        return
    video = wrappers.RecordVideo(env, str(tmp_path), episode_trigger=lambda episode: True)
    video.reset(seed=0)
    video.step(GAS)
    video.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
