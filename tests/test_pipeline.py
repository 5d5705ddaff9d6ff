"""The whole DAG, small: a clone of the repository with the smoke profile, from nothing."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
}
INITIAL = {
    "collect@lane_follower",
    "collect@erratic",
    "process",
    "train_vae",
    "encode",
    "initialise",
}
OF_A_ROUND = {
    "train_rnn",
    "evolve",
    "evaluate",
    "explore",
    "process_explored",
    "encode_explored",
    "compare",
}


def run(folder, *command):
    """What a command printed; a failed one fails the test with all it said."""
    ended = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    return ended.stdout


def dvc(folder, *words):
    return run(folder, sys.executable, "-m", "dvc", *words)


def started(output):
    """The stages that a `dvc repro` or a dry run of it says it runs."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}


def clone(path):
    run(path.parent, "git", "clone", "--quiet", str(ROOT), str(path))
    run(path, sys.executable, "-m", "wm.cli", "profile", "smoke")
    run(path, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "smoke")
    return path


def checksums(folder):
    """SHA-256 of all that the stages wrote."""
    paths = [
        path
        for top in ("data", "models", "metrics")
        for path in sorted((folder / top).rglob("*"))
        if path.is_file() and path.name != ".gitignore" and "pretrained" not in path.parts
    ]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = clone(tmp_path_factory.mktemp("first") / "wm")
    ran = started(dvc(folder, "repro"))
    return folder, ran


def test_a_fresh_clone_runs_every_stage_of_two_rounds(smoke):
    _, ran = smoke
    assert ran == INITIAL | {f"{name}@{k}" for name in OF_A_ROUND for k in ("r0", "r1")} | {"report"}


def test_the_second_time_there_is_nothing_to_run(smoke):
    assert not started(dvc(smoke[0], "repro"))


def test_metrics_lay_dream_beside_real(smoke):
    shown = dvc(smoke[0], "metrics", "show", "--md")
    for name in ("dream.json", "real.json"):
        assert str(Path("metrics", "r1", name)) in shown
    assert "score.mean" in shown


@pytest.mark.parametrize(
    ("change", "runs", "stays"),
    [
        ("process.mirror=false", "process", {"collect@lane_follower", "collect@erratic"}),
        (
            "evaluate.episodes=5",
            "evaluate@r1",
            {"train_vae", "train_rnn@r0", "evolve@r0", "explore@r0", "train_rnn@r1", "evolve@r1"},
        ),
        ("evolve.temperature=1.1", "evolve@r0", {"collect@erratic", "process", "train_vae", "train_rnn@r0"}),
    ],
)
def test_a_change_recomputes_only_what_lies_downstream(smoke, change, runs, stays):
    would = started(dvc(smoke[0], "exp", "run", "--dry", "-S", change))
    run(smoke[0], "git", "checkout", "-q", "params.yaml")
    assert runs in would
    assert not would & stays


def test_another_round_runs_only_its_own_stages(smoke):
    would = started(dvc(smoke[0], "exp", "run", "--dry", "-S", "+rounds.r2={prev: r1}"))
    run(smoke[0], "git", "checkout", "-q", "params.yaml")
    assert would == {f"{name}@r2" for name in OF_A_ROUND} | {"report"}


def test_two_runs_from_nothing_write_the_same_bytes(smoke, tmp_path):
    second = clone(tmp_path / "wm")
    dvc(second, "repro")
    first, second = checksums(smoke[0]), checksums(second)
    assert len(first) > 40
    assert first == second
