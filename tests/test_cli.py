import json
import os
import subprocess
import sys
from pathlib import Path

import jax.random as jr
import pytest
from ruamel.yaml import YAML

from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.runtime import model_file

ROOT = Path(__file__).parents[1]


def wm(*words, cwd=ROOT):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "wm.cli", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model_file.save(folder / "vae.eqx", VAE(latent_size=4, widths=(4, 4, 4, 4), key=jr.key(0)))
    model_file.save(folder / "rnn.eqx", RNN(latent_size=4, hidden_size=8, mixtures=2, key=jr.key(1)))
    model_file.save(folder / "controller.eqx", Controller(features=12))
    (folder / "environment.json").write_text('{"action_repeat": 40, "warm_up_frames": 50}')
    return folder


FOUND = {"mean", "std", "sem", "min", "median", "max", "n", "laps", "lap_frames", "missed", "failures"}


def test_evaluate_prints_one_json_object_whatever_the_workers(models):
    ended = [
        wm("evaluate", "--models", models, "--episodes", 2, "--seed", 5, "--workers", workers, "--json")
        for workers in (1, 2)
    ]
    first, second = (json.loads(one.stdout) for one in ended)
    assert set(first) == {"real", "returns", "seconds"}
    assert set(first["real"]) == FOUND
    assert first["real"]["n"] == len(first["returns"]) == 2
    assert first["returns"] == second["returns"]
    assert first["real"]["mean"] == pytest.approx(sum(first["returns"]) / 2, abs=0.01)


def test_a_reader_that_leaves_early_is_no_error():
    command, environment = [sys.executable, "-m", "wm.cli", "schema"], os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""


def test_dream_prints_one_json_object(models):
    ended = wm("dream", "--models", models, "--episodes", 3, "--seed", 5, "--json")
    shown = json.loads(ended.stdout)
    assert set(shown) == {"dream", "returns", "seconds"}
    assert set(shown["dream"]) == FOUND
    assert len(shown["returns"]) == 3


def test_dream_follows_the_rules_of_the_agents_evolution(models, tmp_path):
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    words = ("dream", "--models", tmp_path, "--episodes", 2, "--seed", 5, "--json")
    free = json.loads(wm(*words).stdout)["returns"]
    rules = {"temperature": 9.0, "patience": 0, "action_repeat": 40}
    (tmp_path / "dream.json").write_text(json.dumps({"rules": rules}))
    assert json.loads(wm(*words).stdout)["returns"] != free


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["profile", "nosuch"], "found 'nosuch', expected one of default, paper, reduced, smoke"),
        (["evaluate", "--models", "nowhere"], "nowhere/vae.eqx: not found"),
        (["evaluate", "--episodes", "0"], "wanted a whole number of 1 or more"),
        (["dream", "--seed", "-1"], "wanted a whole number of 0 or more"),
        (
            ["play", "--seed", "4294967296"],
            "found '4294967296', wanted a whole number of 0 or more, 4294967295 at most",
        ),
        (["play", "--temperature", "1e39"], "found '1e39', wanted a number above 0 and no more than 100"),
        (["export-web", "--models", "nowhere"], "nowhere/vae.eqx: not found"),
        (["export-web", "--out", "docs"], "docs: cannot be written"),
    ],
)
def test_a_users_error_is_one_line_and_exit_2(words, message):
    ended = wm(*words)
    assert ended.returncode == 2
    assert message in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_model_of_another_kind_is_named(models, tmp_path):
    for name in ("vae", "rnn", "controller"):
        (tmp_path / f"{name}.eqx").write_bytes((models / "rnn.eqx").read_bytes())
    ended = wm("evaluate", "--models", tmp_path, "--episodes", 1)
    assert ended.returncode == 2
    assert "vae.eqx: kind: found RNN, expected VAE" in ended.stderr


def test_profiles_write_params_and_say_what_changed(tmp_path):
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    ended = wm("profile", "smoke", cwd=tmp_path)
    assert "evaluate.episodes: 100 -> 4" in ended.stdout
    assert "already" in wm("profile", "smoke", cwd=tmp_path).stdout
    wm("profile", "default", cwd=tmp_path)
    safe = YAML(typ="safe")
    assert safe.load(tmp_path / "params.yaml") == safe.load(ROOT / "profiles" / "default.yaml")
