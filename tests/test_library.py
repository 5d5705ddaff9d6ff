"""The package outside a checkout: `wm.load_agent`, and a wheel in an environment and a folder of its own."""

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAVELS = ("models/pretrained", "profiles", "web")  # to wm/repository of the wheel

ELSEWHERE = """
import doctest, sys
import gymnasium, wm
from wm import cli

assert "jax" not in sys.modules
print(wm.__file__)
lines = doctest.DocTestFinder().find(wm.load_agent, "load_agent", globs={})[0]
print(doctest.DocTestRunner().run(lines))
for name in ("CarRacingDream", "RealCarRacing"):
    env = gymnasium.make(f"wm.envs:{name}-v0")
    env.reset(seed=1)
    print(name, env.step(env.action_space.sample())[0].shape)
dreams = gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=2)
print(dreams.reset(seed=1)[0].shape)
cli.call("export-web")
cli.call("evaluate", "--episodes", "2", "--workers", "1", "--json")
"""


def run(folder, *command):
    """A finished command that ran in `folder`, without the checkout on its path."""
    return subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)


def output(folder, *command):
    """What a command prints that must succeed."""
    ended = run(folder, *command)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    output(ROOT, "uv", "build", "--quiet", "--wheel", "--out-dir", folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The programs of an environment with nothing but the wheel and its dependencies, which it shares with
    this environment; a .pth file leads to them, not to the checkout, whose own .pth file is not read."""
    folder = tmp_path_factory.mktemp("environment")
    output(folder, "uv", "venv", "--quiet", "--no-project", "--python", sys.executable, ".")
    python = folder / "bin" / "python"
    output(folder, "uv", "pip", "install", "--quiet", "--no-deps", "--python", python, wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_holds_the_library_and_what_travels_with_it_alone(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    library = output(ROOT, "git", "ls-files", "wm").split()
    others = output(ROOT, "git", "ls-files", *TRAVELS).split()
    assert names == {*library, *(f"wm/repository/{name}" for name in others)}


def test_a_wheel_drives_and_dreams_in_any_folder(installed, tmp_path):
    lines = output(tmp_path, installed / "python", "-c", ELSEWHERE).splitlines()
    package, documented, *shapes, page, scores = lines
    assert Path(package).is_relative_to(installed.parent)
    assert documented == "TestResults(failed=0, attempted=5)"
    assert shapes == ["CarRacingDream (288,)", "RealCarRacing (288,)", "(2, 288)"]
    assert page.startswith("dream.html: ")
    assert min(json.loads(scores)["returns"]) > 600
    assert [path.name for path in tmp_path.iterdir()] == ["dream.html"]


@pytest.mark.parametrize("command", ["profile quick", "status", "publish", "validate"])
def test_a_command_for_a_checkout_says_so_elsewhere(installed, tmp_path, command):
    ended = run(tmp_path, installed / "wm", *command.split())
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.endswith(".yaml: not found. Run this command from the root of a checkout of the pipeline.")
