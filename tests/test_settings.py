"""What a user has set for JAX, Python and the shell: the same results, or one line that says what to do."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import commands
import jax
import pytest

from stages import __main__ as runner
from wm.agent.folder import AgentFolder
from wm.errors import BadInput
from wm.runtime import startup
from wm.runtime.places import PRETRAINED

ROOT = Path(__file__).parents[1]
VARIABLES = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_SOFTMAX_CUSTOM_JVP": "1",
    "JAX_DISABLE_JIT": "1",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_HIGH_DYNAMIC_RANGE_GUMBEL": "1",
}
OTHERWISE = {  # settings in a program that uses the library
    "jax_enable_x64": lambda: jax.enable_x64(True),
    "jax_default_prng_impl": lambda: jax.default_prng_impl("rbg"),
    "jax_threefry_partitionable": lambda: jax.threefry_partitionable(False),
    "jax_default_matmul_precision": lambda: jax.default_matmul_precision("bfloat16"),
    "jax_numpy_dtype_promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "jax_disable_jit": jax.disable_jit,
}


def run(*words, cwd=ROOT, variables, timeout=None):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=timeout, check=False
    )


def test_a_command_computes_the_same_with_other_settings_of_jax():
    words = ["dream", "--episodes", "1", "--json"]
    said = run("-m", "wm", *words, variables=VARIABLES)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["returns"] == json.loads(commands.wm(*words).stdout)["returns"]


def test_a_stage_removes_all_settings_on_which_results_depend(monkeypatch):
    assert {name.upper() for name in startup.RESULTS_DEPEND_ON} == VARIABLES.keys()
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["stages", "--help"])
    monkeypatch.setattr(startup, "keep_memory", nullcontext)
    runner.main()
    assert not VARIABLES.keys() & os.environ.keys()


@pytest.mark.parametrize("name", OTHERWISE)
def test_an_agent_loaded_with_other_settings_is_one_line(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    with OTHERWISE[name](), pytest.raises(BadInput, match=f"^{name}: found .*Unset {name.upper()}, or call"):
        AgentFolder(PRETRAINED).agent()


@pytest.mark.parametrize("platforms", ["cuda", "tpu", "nonsense"])
def test_a_command_without_the_devices_it_asks_for_is_one_line(platforms):
    if jax.default_backend() != "cpu":
        pytest.skip("a machine with an accelerator")
    said = run("-m", "wm", "dream", "--episodes", "1", variables={"JAX_PLATFORMS": platforms})
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1
    assert said.stderr.startswith(f"error: JAX_PLATFORMS: found {platforms}, expected ")


def test_a_stage_without_the_devices_it_asks_for_is_one_line(tmp_path):
    if jax.default_backend() != "cpu":
        pytest.skip("a machine with an accelerator")
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    said = run("-m", "stages", "initialise", cwd=tmp_path, variables={"JAX_PLATFORMS": "cuda"})
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1
    assert said.stderr.startswith("error: JAX_PLATFORMS: found cuda, expected ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"]


PARALLEL = """
import gymnasium

def make():
    return gymnasium.make("wm.envs:{environment}")

if __name__ == "__main__":
    {parallel}
    print("shape", environments.reset()[0].shape)
    environments.close()
"""
MAKE_VEC = (
    'environments = gymnasium.make_vec("wm.envs:{}", 1, "async", vector_kwargs={{"context": "{}"}})'.format
)
ASYNC = 'environments = gymnasium.vector.AsyncVectorEnv([make], context="{}")'.format
SUBPROC = (
    "from stable_baselines3.common.vec_env import SubprocVecEnv; here = make();"
    ' environments = SubprocVecEnv([make], start_method="{}")'
).format
DREAM, REAL = "CarRacingDream-v0", "RealCarRacing-v0"


def in_parallel(folder, environment, parallel):
    """What a program says that runs an environment in another process."""
    (folder / "parallel.py").write_text(PARALLEL.format(environment=environment, parallel=parallel))
    return run(str(folder / "parallel.py"), variables={}, timeout=300)


@pytest.mark.parametrize(
    ("environment", "parallel"),
    [(REAL, MAKE_VEC(REAL, "fork")), (DREAM, ASYNC("fork")), (REAL, SUBPROC("fork"))],
)
def test_an_environment_in_a_process_forked_after_jax_started_says_so_and_does_not_hang(
    tmp_path, environment, parallel
):
    if "stable_baselines3" in parallel:
        pytest.importorskip("stable_baselines3")
    said = in_parallel(tmp_path, environment, parallel)
    assert "shape" not in said.stdout
    assert "start method: found fork after JAX has started, which hangs, expected spawn" in said.stderr


@pytest.mark.parametrize(("environment", "parallel"), [(DREAM, MAKE_VEC(DREAM, "spawn"))])
def test_an_environment_in_a_spawned_process_works(tmp_path, environment, parallel):
    said = in_parallel(tmp_path, environment, parallel)
    assert said.stdout == "shape (1, 288)\n", said.stderr
