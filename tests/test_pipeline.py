"""The whole DAG, small: a clone of the repository with the smoke profile, from nothing, round by round."""

import contextlib
import csv
import sys

import pytest
from dvc.repo import Repo
from dvc.repo.reproduce import reproduce
from ruamel.yaml import YAML
from smoke_run import dvc, smoke_run, started

from bench.chaos import run
from wm.runtime import files

INITIAL = {
    "collect@lane_follower",
    "collect@erratic",
    "process",
    "train_vae",
    "encode",
    "initialise",
}
OF_A_ROUND = {"train_rnn", "evolve", "explore", "encode_explored"}
OF_ALL_ROUNDS = {"rank", "evaluate", "fidelity", "report"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return smoke_run(tmp_path_factory).clone


def test_a_fresh_clone_runs_every_stage(tmp_path_factory):
    ran = smoke_run(tmp_path_factory).first
    assert ran == INITIAL | {f"{name}@r0" for name in OF_A_ROUND} | OF_ALL_ROUNDS


def test_another_round_runs_only_its_own_stages(smoke, tmp_path_factory):
    ran = smoke_run(tmp_path_factory).second
    assert ran == {f"{name}@r1" for name in OF_A_ROUND} | OF_ALL_ROUNDS
    assert (smoke / "metrics" / "rounds" / "r1" / "explore.json").exists()
    assert ">r1<" in (smoke / "metrics" / "report.html").read_text()


def test_the_second_time_there_is_nothing_to_run(smoke):
    assert not started(dvc(smoke, "repro"))


def test_metrics_show_dream_and_reality_within_160_columns(smoke):
    shown = dvc(smoke, "metrics", "show").splitlines()
    assert {"dream", "real", "gap", "in_dream", "in_reality", "rank_correlation"} <= set(shown[0].split())
    assert max(map(len, shown)) <= 160


def test_a_run_is_appended_to_the_table_of_runs(smoke):
    run(smoke, sys.executable, "-m", "bench.runs", "smoke", "--profile", "smoke", "--table", "runs.csv")
    with (smoke / "runs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["r0", "r1"]
    metrics = smoke / "metrics"
    for row in rows:
        explored = metrics / "rounds" / row["round"] / "explore.json"
        score = files.read_json(metrics / "real.json" if row["published"] else explored)["score"]
        assert float(row["real_mean"]) == score["mean"]
        assert int(row["real_drives"]) > 0


def would_run(folder, section, **change):
    """The stages that a change of params.yaml touches, and all that lie downstream of them."""
    round_trip, path = YAML(), folder / "params.yaml"
    before = path.read_text()
    params = round_trip.load(before)
    params[section].update(change)
    round_trip.dump(params, path)
    try:
        with contextlib.chdir(folder), Repo() as repo:
            touched = names(reproduce(repo, dry=True))
            return names(reproduce(repo, touched, dry=True, force=True, downstream=True))
    finally:
        path.write_text(before)


def names(stages):
    return {stage.addressing for stage in stages}


def test_mirroring_changed_collects_nothing(smoke):
    would = would_run(smoke, "process", mirror=False)
    assert {"process", "encode_explored@r0", "train_vae", "train_rnn@r0"} <= would
    assert not would & {"collect@lane_follower", "collect@erratic"}


def test_evaluation_changed_trains_nothing(smoke):
    would = would_run(smoke, "evaluate", episodes=5)
    assert would == {"evaluate", "report"}


def test_fidelity_changed_chooses_and_evaluates_nothing(smoke):
    assert would_run(smoke, "fidelity", tracks=1) == {"fidelity", "report"}


def test_ranking_changed_explores_nothing(smoke):
    assert would_run(smoke, "rank", seed=2) == OF_ALL_ROUNDS


def test_evolution_changed_keeps_what_lies_before_it(smoke):
    would = would_run(smoke, "evolve", temperature=1.1)
    assert {"evolve@r0", "explore@r0", "train_rnn@r1", "evolve@r1", *OF_ALL_ROUNDS} <= would
    assert not would & (INITIAL | {"train_rnn@r0"})
