import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import wm
from tiny_agent import tiny_agent

from wm.agent.folder import AgentFolder
from wm.errors import BadInput
from wm.runtime import places

ROOT = Path(__file__).parents[1]


def wm_process(*words):
    """The command in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "wm.cli", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_agent(tmp_path_factory.mktemp("models"))


SCORES = {"mean", "std", "sem", "min", "median", "max", "n"}
FOUND = SCORES | {"laps", "lap_frames", "missed", "failures", "below_600"}


def test_evaluate_prints_one_json_object_whatever_the_workers(models):
    ended = [
        wm_process(
            "evaluate", "--models", models, "--episodes", 2, "--seed", 5, "--workers", workers, "--json"
        )
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
    ended = wm_process("dream", "--models", models, "--episodes", 3, "--seed", 5, "--json")
    shown = json.loads(ended.stdout)
    assert set(shown) == {"dream", "returns", "seconds"}
    assert set(shown["dream"]) == FOUND
    assert len(shown["returns"]) == 3


def test_dream_follows_the_rules_of_the_agents_evolution(models, tmp_path):
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    words = ("dream", "--models", tmp_path, "--episodes", 2, "--seed", 5, "--json")
    free = json.loads(wm(*words).stdout)["returns"]
    rules = {"temperature": 9.0, "stuck_steps": 0, "action_repeat": 40}
    (tmp_path / "dream.json").write_text(json.dumps({"rules": rules}))
    assert json.loads(wm(*words).stdout)["returns"] != free


REFUSED = {
    # command line: how its one line begins, .* for any text
    "": "command: found nothing, expected one of profile, validate, schema, status, devices, publish,",
    "nosuch": "command: found 'nosuch', expected one of profile, validate,",
    "evalute": "command: found 'evalute', expected one of profile, .*, play. Did you mean evaluate?",
    "--version": "command: found '--version', expected one of profile, .*, play. Run `wm --help`.",
    "validate now": "validate: found 'now', expected no further argument. Run `wm validate --help`.",
    "validate --all": "validate: option: found '--all', expected none. Run `wm validate --help`.",
    "profile": "NAME: found nothing, expected a value. Run `wm profile --help`.",
    "profile nosuch": "profile: found 'nosuch', expected one of best, default, paper, quick, smoke",
    "profile smok": "profile: found 'smok', expected one of best, .*, smoke. Did you mean smoke?",
    "evaluate --models nowhere": "nowhere/vae.eqx: not found",
    "evaluate --models": "--models: found nothing, expected a path. Run `wm evaluate --help`.",
    "evaluate --episodes": "--episodes: found nothing, expected a whole number. Run `wm evaluate --help`.",
    "evaluate --episodes 3 --episodes 4": "--episodes: found more than once, expected once. Remove",
    "evaluate --episode 3": "evaluate: option: found '--episode', expected one .*. Did you mean --episodes?",
    "evaluate -episodes 3": "evaluate: option: found '-episodes', .*, --sampled. Did you mean --episodes?",
    "evaluate -x": "evaluate: option: found '-x', .*, --sampled. Run `wm evaluate --help`.",
    "evaluate 3": "evaluate: found '3', expected no further argument. Run `wm evaluate --help`.",
    "evaluate --episodes 0": "--episodes: found '0', expected a whole number from 1 to 4294967295",
    "evaluate --scheduler nosuch": "--scheduler: found 'nosuch', expected local, slurm or",
    "evaluate --workers 100000000": "--workers: found 100000000, expected a number of at most 1024",
    "worker tcp://h:1 --workers 1025": "--workers: found 1025, expected a number of at most 1024",
    "evaluate --episodes 4294967295 --seed 2": "--episodes: found 4294967295 from --seed 2 on, expected at "
    "most 4294967294, since no seed is above 4294967295",
    "dream --episodes 2 --seed 4294967295": "--episodes: found 2 from --seed 4294967295 on, expected at most",
    "dream --seed -1": "--seed: found '-1', expected a whole number from 0 to 4294967295",
    f"dream --seed {'9' * 5000}": "--seed: found '9999.*9999', expected a whole number from 0 to 4294967295",
    "dream --no-json": "dream: option: found '--no-json', .*, --json. Did you mean --json?",
    "dream --json=maybe": "--json: found 'maybe', expected no value. Run `wm dream --help`.",
    "play --seed 4294967296": "--seed: found '4294967296', expected a whole number from 0 to 4294967295",
    "play --temperature 1e39": "--temperature: found '1e39', expected a number above 0 and at most 100",
    "play --temperature": "--temperature: found nothing, expected a number. Run `wm play --help`.",
    "play --world moon": "--world: found 'moon', expected one of real, dream, both. Run `wm play --help`.",
    "play --world reall": "--world: found 'reall', expected one of real, dream, both. Did you mean real?",
    "watch": "--out: found nothing, expected a path. Run `wm watch --help`.",
    "export-web --models nowhere": "nowhere/vae.eqx: not found",
    "evaluate --drawn": "evaluate: option: found '--drawn', expected its new name --sampled",
    "publish r9": "round: found 'r9', expected one of r0, r1",
    "publish r33": "round: found 'r33', expected one of r0, r1, .*. Did you mean r3?",
    "evaluate --models models/pretraind": "models/pretraind: not found. Did you mean models/pretrained?",
    "dream --models publishd": "publishd: not found. Did you mean published?",
    "export-web --out docs": "docs: found a folder, expected a file to write",
}


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: words[:40])
def test_bad_input_is_one_line_and_exit_2(words):
    ended = wm(*words.split())
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert re.match(re.escape(f"error: {REFUSED[words]}").replace(r"\.\*", ".*"), line)
    assert len(line) < 300


OPTIONS = {
    "evaluate": {
        *("--models", "--episodes", "--seed", "--json"),
        *("--workers", "--scheduler", "--sampled"),
    },
    "dream": {"--models", "--episodes", "--seed", "--json"},
    "worker": {"--workers"},
    "export-onnx": {"--models", "--out"},
    "export-dataset": {"--format", "--source", "--out"},
    "export-web": {"--models", "--out", "--weights"},
    "watch": {"--models", "--seed", "--steps", "--out", "--dream-steps", "--replay"},
    "play": {"--models", "--seed", "--steps", "--world", "--agent", "--temperature"},
    **{name: set() for name in ("profile", "validate", "schema", "status", "devices", "publish")},
}


def test_every_command_names_its_options():
    for command in OPTIONS:
        text = wm(command, "--help").stdout
        assert set(re.findall(r"--[a-z-]+", text)) - {"--help"} == OPTIONS[command], command
    assert set(re.findall(r"^│ ([a-z][a-z-]*)  ", wm("--help").stdout, re.MULTILINE)) == set(OPTIONS)


HEAVY = ("jax", "equinox", "gymnasium", "cv2", "matplotlib", "scipy", "pyarrow", "numpy")
LIGHT = """
import atexit, resource, sys

def report():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(usage.ru_utime + usage.ru_stime, *(name for name in {heavy!r} if name in sys.modules))

atexit.register(report)
sys.argv[1:] = {words!r}
import runpy
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


RIGHT = ["--help", "validate", "schema", "status", "profile smoke"]
WRONG = ["evaluate --episodes 0", "evaluate --models nowhere", "evaluate --scheduler nosuch", "publish r9"]


@pytest.mark.parametrize("words", [*RIGHT, *WRONG])
def test_light_commands_import_no_jax_and_take_a_second(tmp_path, words):
    assert light(tmp_path, "wm.cli", words.split()) < 3  # seconds of a processor; 0.7 on a quiet machine


@pytest.mark.parametrize("words", ["collect", "collect nosuch", "train_rnn r0", "nosuch"])
def test_a_stage_refuses_wrong_arguments_before_it_imports_jax(tmp_path, words):
    assert light(tmp_path, "stages", words.split()) < 3


@pytest.mark.parametrize(("module", "words"), [("wm.cli", "validate"), ("stages", "train_rnn r0 init")])
def test_a_bad_params_yaml_is_refused_in_a_second(tmp_path, module, words):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("seed: 1", "seed: x"))
    assert light(tmp_path, module, words.split()) < 3


def light(folder, module, words):
    """Seconds of processor time that a command takes, none of it for a heavy import."""
    for name in ("dvc.yaml", "dvc.lock"):
        (folder / name).symlink_to(ROOT / name)
    if not (folder / "params.yaml").exists():
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    script = LIGHT.format(heavy=HEAVY, words=words, module=module)
    command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds, *heavy = ended.stdout.splitlines()[-1].split()
    assert heavy == []
    return float(seconds)


def test_a_round_drives_with_the_vae_of_all_rounds(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rounds, metrics = tmp_path / "models/rounds/r0", tmp_path / "metrics/rounds/r0"
    shutil.copytree(models, rounds)
    (rounds / "vae.eqx").rename(tmp_path / "models/vae.eqx")
    metrics.mkdir(parents=True)
    rules = {"temperature": 9.0, "stuck_steps": 3, "action_repeat": 40}
    (metrics / "dream.json").write_text(json.dumps({"rules": rules}))
    for folder in (Path("models/rounds/r0"), rounds):
        agent = AgentFolder(folder)
        assert places.found_agent(folder) == folder
        assert agent.agent().vae.latent_size == 4
        assert agent.rules(4).temperature == 9
    (rounds / "rnn.eqx").unlink()
    with pytest.raises(BadInput, match=r"^models/rounds/r0/rnn.eqx: not found. Run this command from"):
        places.found_agent(Path("models/rounds/r0"))
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(BadInput, match=r"^models/rounds/r0/rnn.eqx: not found. Run `dvc repro`"):
        places.found_agent(Path("models/rounds/r0"))
    with pytest.raises(BadInput, match=r"^models/rounds/R0: not found. Did you mean models/rounds/r0\?"):
        places.found_agent(Path("models/rounds/R0"))


def test_a_model_of_another_kind_is_named(models, tmp_path):
    for name in ("vae", "rnn", "controller"):
        (tmp_path / f"{name}.eqx").write_bytes((models / "rnn.eqx").read_bytes())
    ended = wm("evaluate", "--models", tmp_path, "--episodes", 1)
    assert ended.returncode == 2
    assert "vae.eqx: kind: found RNN, expected VAE" in ended.stderr


@pytest.mark.parametrize("content", [b"", b"rank:\n\tseed: 1\n", b"\xff\xfe"])
def test_a_profile_repairs_a_params_yaml_that_cannot_be_read(tmp_path, content):
    (tmp_path / "dvc.yaml").symlink_to(ROOT / "dvc.yaml")
    (tmp_path / "params.yaml").write_bytes(content)
    ended = wm("profile", "default", cwd=tmp_path)
    assert ended.stdout.startswith("params.yaml")
    assert ended.stdout.endswith("; now default\n")
    assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize("words", ["validate", "status", "publish", "profile smoke"])
def test_commands_of_the_pipeline_say_in_one_way_where_to_run_them(tmp_path, words):
    ended = wm(*words.split(), cwd=tmp_path)
    assert ended.returncode == 2
    expected = "dvc.yaml: not found. Run this command from the root of a checkout of the pipeline."
    assert ended.stderr == f"error: {expected}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["evaluate --models models/rounds/r0", "export-dataset"])
def test_commands_that_miss_an_output_of_the_pipeline_say_where_to_run_them(tmp_path, words):
    ended = wm(*words.split(), cwd=tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.endswith("not found. Run this command from the root of a checkout of the pipeline.")


def test_profiles_write_params_and_say_what_changed(tmp_path):
    (tmp_path / "dvc.yaml").symlink_to(ROOT / "dvc.yaml")
    before = (ROOT / "params.yaml").read_bytes()
    (tmp_path / "params.yaml").write_bytes(before)
    assert "evaluate.episodes: 100 -> 4" in wm("profile", "smoke", cwd=tmp_path).stdout
    assert (tmp_path / "params.yaml").read_bytes() != before
    assert "already smoke" in wm("profile", "smoke", cwd=tmp_path).stdout
    wm("profile", "default", cwd=tmp_path)
    assert (tmp_path / "params.yaml").read_bytes() == before
