import re
import warnings
from argparse import Namespace
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from test_envs import GAS, save_agent

from wm.envs.dream import CarRacingDream
from wm.envs.track import RealCarRacing
from wm.envs.vector import CarRacingDreams
from wm.errors import BadInput

check_env = pytest.importorskip("stable_baselines3.common.env_checker").check_env  # the extra `examples`

from examples import ppo_in_dream  # noqa: E402
from examples.sb3 import GymnasiumVecEnv  # noqa: E402


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_agent(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("make", [CarRacingDream, RealCarRacing])
def test_stable_baselines_checker_warns_of_the_pedals_only(models, make):
    """CarRacing itself defines pedals in [0, 1] and steering in [-1, 1]."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(make(models))
    warned = [str(one.message) for one in said if issubclass(one.category, UserWarning)]
    assert all("symmetric and normalized Box action space" in one for one in warned)


def test_a_finished_episode_is_reported_and_reset_in_the_same_step(models):
    inner = CarRacingDreams(2, models=models, horizon_steps=2)
    venv = GymnasiumVecEnv(inner)
    venv.seed(5)
    first = venv.reset()
    told: Any = [venv.step(np.stack([GAS, GAS])) for _ in range(4)]
    assert [dones.tolist() for _, _, dones, _ in told] == [[over] * 2 for over in (False, True) * 2]
    observations, infos = told[1][0], list(told[1][3])
    assert infos[0]["TimeLimit.truncated"]
    assert infos[0]["episode"] == {"r": pytest.approx(0.6, abs=1e-5), "l": 2}
    twin = CarRacingDream(models)
    assert np.allclose(first[1], twin.reset(seed=6)[0], atol=1e-6)
    last = [twin.step(GAS)[0] for _ in range(2)][-1]
    assert np.allclose(infos[1]["terminal_observation"], last, atol=1e-5)
    assert np.allclose(observations[1], twin.reset()[0], atol=1e-6)


def test_an_environment_that_resets_by_itself_is_refused(models):
    inner = CarRacingDreams(2, models=models)
    inner.metadata = inner.metadata | {"autoreset_mode": AutoresetMode.SAME_STEP}
    with pytest.raises(ValueError, match="expected NEXT_STEP"):
        GymnasiumVecEnv(inner)


def test_ppo_learns_in_the_dream_and_drives_in_reality(capsys, tmp_path):
    arguments = {"steps": 600, "envs": 4, "seed": 0, "episodes": 1}
    ppo_in_dream.main(Namespace(**arguments, save=tmp_path / "ppo.zip", load=None))
    lines = capsys.readouterr().out.splitlines()
    figures = r"dream +-?\d+\.\d \+- +\d+\.\d, real +-?\d+\.\d \+- +\d+\.\d \(n 1\)"
    assert re.fullmatch("before: +" + figures, lines[0])
    assert re.fullmatch("after: +" + figures, lines[-1])
    assert lines[0].split(":")[1] != lines[-1].split(":")[1]
    ppo_in_dream.main(Namespace(**arguments, save=None, load=tmp_path / "ppo.zip"))
    assert capsys.readouterr().out.split() == ["loaded:", *lines[-1].split()[1:]]


def test_a_policy_that_cannot_be_loaded_is_refused(tmp_path):
    (tmp_path / "no.zip").write_text("no policy")
    for name, expected in [("ppo.zip", "not found. Train a policy with"), ("no.zip", "expected a policy")]:
        with pytest.raises(BadInput, match=expected):
            ppo_in_dream.load(tmp_path / name)
