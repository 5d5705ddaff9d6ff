import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from wm import cli
from wm.errors import BadInput
from wm.params import file
from wm.params.rounds import ancestry

ROOT = Path(__file__).parents[1]


@pytest.fixture
def params():
    return YAML(typ="safe").load(ROOT / "profiles" / "default.yaml")


def test_params_are_the_default_profile():
    safe = YAML(typ="safe")
    assert safe.load(ROOT / "params.yaml") == safe.load(ROOT / "profiles" / "default.yaml")


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "profiles").glob("*.yaml")])
def test_every_profile_is_valid(params, name):
    cli.merge(params, YAML(typ="safe").load(ROOT / "profiles" / f"{name}.yaml"))
    cli.validate(params)


WRONG = {
    "typo": (lambda p: p["evolve"].update(temprature=1.0), r"evolve.temprature"),
    "missing": (lambda p: p["evolve"].pop("temperature"), r"evolve.temperature"),
    "wrong type": (lambda p: p["process"].update(mirror="yes"), r"process.mirror.*'yes'"),
    "out of range": (lambda p: p["train_rnn"].update(dropout=1.0), r"train_rnn.dropout.*1.0"),
    "not a number": (lambda p: p["evolve"].update(temperature=float("nan")), r"evolve.temperature"),
    "section": (lambda p: p.pop("explore"), r"explore: is missing"),
    "strange section": (lambda p: p.update(extra={}), r"extra: unknown, wanted one of environment"),
    "driver": (lambda p: p["collect"].update(ghost={"seed": 1, "episodes": 1}), r"'ghost', wanted one of"),
    "missing prev": (lambda p: p["rounds"]["r1"].update(prev="r9"), r"names no round: found 'r9'"),
    "circular prev": (lambda p: p["rounds"]["r0"].update(prev="r1"), r"is circular"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_params_are_one_line_with_the_place(params, case):
    spoil, message = WRONG[case]
    spoil(params)
    with pytest.raises(BadInput, match=message) as caught:
        cli.validate(params)
    assert "\n" not in str(caught.value)


def test_a_stage_ends_with_2_and_one_line_before_any_work(tmp_path, params):
    params["collect"]["erratic"]["episodes"] = 0
    YAML(typ="safe").dump(params, tmp_path / "params.yaml")
    command = [sys.executable, "-m", "stages.collect", "erratic"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: params.yaml: collect.erratic.episodes")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_duplicate_names_are_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(BadInput, match="line 2"):
        file.read(tmp_path / "params.yaml")


def test_rounds_are_numbered_along_prev():
    rounds = {"first": {"prev": "init"}, "b": {"prev": "first"}, "c": {"prev": "b"}}
    assert ancestry("c", rounds) == ["first", "b", "c"]


TOLD = """
import os
from jax._src import xla_bridge


def main():
    assert not xla_bridge.backends_are_initialized()  # no stage has computed anything by being imported
    print(len(xla_bridge.devices()), os.environ.get("XLA_FLAGS"))

run_stage(main)
"""


@pytest.mark.parametrize("deterministic", [False, True])
def test_xla_is_told_before_it_reads_its_flags(tmp_path, params, deterministic):
    params["gpu"]["deterministic"] = deterministic
    YAML(typ="safe").dump(params, tmp_path / "params.yaml")
    given = os.environ | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TOLD]
    said = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=True).stdout
    assert said.split()[1:] == [given["XLA_FLAGS"], "--xla_gpu_deterministic_ops=true"][: 1 + deterministic]
