"""`wm status`: which stages are done, as DVC sees it; which runs; about how long the rest takes."""

import csv
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import wm
from ruamel.yaml import YAML
from short_drives import short_drive

from stages import __main__ as runner
from wm.data import resumable
from wm.params import file, profiles
from wm.pipeline import dag, progress, records, status, work
from wm.runtime import stage_log
from wm.runtime.checkpoint import Checkpoints
from wm.runtime.journal import Journal
from wm.runtime.stage_log import Note

ROOT = Path(__file__).parents[1]
DAG = """
stages:
  collect:
    foreach: [a, b]
    do:
      cmd: mkdir -p data/raw/${item} && cp source data/raw/${item}/shard
      deps: [source]
      params: [process]
      outs: ["data/raw/${item}"]
  evolve:
    foreach: ${rounds}
    do:
      cmd: mkdir -p models/rounds/${key} && cp data/raw/a/shard models/rounds/${key}/${item.prev}
      deps: [data/raw/a]
      params: [evolve.temperature]
      outs: ["models/rounds/${key}/${item.prev}"]
  rank:
    cmd: cat models/rounds/*/* > ranks
    deps: [models/rounds]
    outs:
      - ranks: {cache: false}
"""
ALL = {"collect@a", "collect@b", "evolve@r0", "evolve@r1", "rank"}


def write(path, **changes):
    content = YAML(typ="safe").load(ROOT / "params.yaml") | {
        "rounds": {"r0": {"prev": "init"}, "r1": {"prev": "r0"}},
    }
    content["train_vae"]["learning_rate"] = 0.00001
    for place, value in changes.items():
        section, _, name = place.partition("__")
        content[section] = content[section] | {name: value}
    YAML(typ="safe").dump(content, path / "params.yaml")


@pytest.fixture(scope="module")
def run_by_dvc(tmp_path_factory):
    """A small project in which DVC has run all stages."""
    folder = tmp_path_factory.mktemp("dvc")
    write(folder)
    (folder / "dvc.yaml").write_text(DAG)
    (folder / "source").write_text("drives")
    for words in (["init", "--no-scm", "-q"], ["repro", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def project(run_by_dvc, tmp_path, monkeypatch):
    shutil.copytree(run_by_dvc, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    dag._md5.cache_clear()
    return tmp_path


def done():
    content = file.read()
    return dag.done(dag.stages(content), content)


def test_what_dvc_ran_is_done(project):
    assert done() == ALL
    assert status.lines()[-1] == "All stages are done."


CHANGES = {
    "a parameter": (lambda folder: write(folder, process__mirror=False), set()),
    "a parameter of one stage": (
        lambda folder: write(folder, evolve__temperature=1.5),
        {"collect@a", "collect@b"},
    ),
    "a parameter of no stage": (lambda folder: write(folder, train_vae__steps=1), ALL),
    "another round": (lambda folder: write(folder, rounds__r2={"prev": "r1"}), ALL - {"rank"}),
    "a source": (lambda folder: (folder / "source").write_text("Drives"), set()),
    "a missing output": (
        lambda folder: (folder / "models/rounds/r0/init").unlink(),
        ALL - {"evolve@r0", "rank"},
    ),
    "a missing folder": (lambda folder: shutil.rmtree(folder / "data/raw/a"), {"collect@b"}),
    "an edited folder": (lambda folder: (folder / "data/raw/a/shard").write_text("DRIVES"), {"collect@b"}),
    "an edited output": (lambda folder: (folder / "ranks").write_text("drives" + "DRIVES"), ALL - {"rank"}),
    "an output that is no one's": (lambda folder: (folder / "models/rounds/x").touch(), ALL - {"rank"}),
    "no lock": (lambda folder: (folder / "dvc.lock").unlink(), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_change_touches_is_no_longer_done(project, change):
    edit, left = CHANGES[change]
    edit(project)
    assert done() == left


def test_what_cannot_be_read_is_one_line(project):
    (project / "dvc.lock").write_text("<<<<<<< HEAD\nschema: '2.0'\n")
    ended = wm("status", cwd=project)
    assert (ended.returncode, ended.stdout) == (2, "")
    expected = "expected a file that DVC has written. Run `git checkout -- dvc.lock`."
    assert ended.stderr == f"error: dvc.lock: {expected}\n"
    (project / "dvc.yaml").write_text("stages: {a: {matrix: {}}}")
    assert wm("status", cwd=project).stderr.startswith("error: dvc.yaml: found stages that DVC may read")
    (project / "dvc.yaml").unlink()
    assert wm("status", cwd=project).stderr.startswith("error: dvc.yaml: not found")


def test_half_a_lock_is_no_error(project):
    text = (project / "dvc.lock").read_text()
    for length in range(0, len(text), 7):
        (project / "dvc.lock").write_text(text[:length])
        assert done() < ALL


def test_the_lock_is_read_as_a_yaml_parser_reads_it():
    entries = YAML(typ="safe").load(ROOT / "dvc.lock")["stages"]
    found = records.read()
    assert found.keys() == entries.keys()
    for name, entry in entries.items():
        assert (found[name].command, found[name].params) == (
            entry["cmd"],
            entry.get("params", {}).get("params.yaml", {}),
        )
        for kind in ("deps", "outs"):
            expected = {
                one["path"]: (one["md5"], one["size"], one.get("nfiles")) for one in entry.get(kind, [])
            }
            assert getattr(found[name], kind) == expected


def test_a_stage_is_noted_while_it_runs_and_when_it_has_ended(project, monkeypatch):
    def one_unit(name):
        return 1.0

    with stage_log.noted(one_unit):
        assert stage_log.notes() == {}  # DVC does not run it
    monkeypatch.setenv("DVC_STAGE", "evolve@r0")
    with stage_log.noted(one_unit):
        assert stage_log.notes()["evolve@r0"].runs
    note = stage_log.notes()["evolve@r0"]
    assert note.seconds is not None
    assert note.whole
    assert not note.runs
    with pytest.raises(KeyError), stage_log.noted(one_unit):
        raise KeyError
    note = stage_log.notes()["evolve@r0"]
    assert (note.seconds, note.runs) == (None, False)
    with stage_log.noted(one_unit):
        pass
    assert not stage_log.notes()["evolve@r0"].whole  # it resumed what was interrupted


def test_a_note_that_cannot_be_written_or_read_harms_nothing(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "evolve@r0")
    (project / ".scratch").touch()
    with stage_log.noted(lambda name: 1.0):
        pass
    assert stage_log.notes() == {}
    (project / ".scratch").unlink()
    for i, text in enumerate(['{"began": "x", "units": 1}', "{", "[]", '{"began": 1.0}']):
        note = project / stage_log.FOLDER / f"s{i}" / "note.json"
        note.parent.mkdir(parents=True)
        note.write_text(text)
    assert stage_log.notes() == {}


def test_the_runner_notes_the_stages_that_dvc_runs(project, monkeypatch):
    def main(params, source):
        assert stage_log.notes()["collect@erratic"].runs

    monkeypatch.setenv("DVC_STAGE", "collect@erratic")
    monkeypatch.setattr(runner, "import_module", lambda name: SimpleNamespace(main=main))
    monkeypatch.setattr(runner.startup, "cache_compiled", lambda: None)
    runner.run_stage("collect", "erratic")
    assert stage_log.notes()["collect@erratic"].units == file.load().collect["erratic"].episodes


def scratch(folder, name):
    path = folder / ".scratch" / f"{name}-0123456789abcdef"
    path.mkdir(parents=True)
    (path / "lock").touch()
    return path


def share(name, since=0.0):
    return progress.share_done(file.load(), name, since)


def test_the_share_done_is_that_of_journals_checkpoints_and_parts(project):
    params, path = file.load(), scratch(project, "train_rnn-r0")
    assert share("train_rnn@r0") == 0
    for name, part in (("rnn", 0.25), ("simulator_0", 0.75)):
        step = int(part * params.train_rnn.first_round_steps)
        Checkpoints(path / name).save({"step": step}, np.zeros(3))
    assert share("train_rnn@r0") == pytest.approx(0.5)
    assert share("train_rnn@r1") is None
    Checkpoints(scratch(project, "train_vae") / "vae").save(
        {"step": params.train_vae.steps // 4}, np.zeros(3)
    )
    assert share("train_vae") == pytest.approx(0.25)
    path = scratch(project, "evolve-r0")
    journal = Journal(path / "journal-0.5.jsonl")
    for generation in range(params.evolve.search.generations // 10):
        journal.write(generation, np.zeros((2, 3)), np.zeros(2))
    assert share("evolve@r0") == pytest.approx(0.1)
    assert share("evolve@r0", since=time.time() + 60) is None  # of an earlier run
    seeds = range(params.collect["erratic"].episodes)
    drives = resumable.resumable_episodes(scratch(project, "collect-erratic"), seeds, driven)
    assert len(list(islice(drives, 25))) == 25
    assert share("collect@erratic") == pytest.approx(20 / len(seeds))
    assert share("process") is None
    assert progress.EPISODES_PER_PART == resumable.EPISODES_PER_PART


def driven(seeds):
    return (short_drive(seed, "erratic") for seed in seeds)


def group(name):
    """The row of bench/results/stage_minutes.csv that a stage belongs to."""
    if name in ("explore", "encode_explored"):
        return "explore, and processing of its drives"
    joined = ("process and train_vae", "encode and initialise", "fidelity, rank and report")
    return next((label for label in joined if name in label.replace(",", "").split()), name)


def test_the_listed_seconds_are_about_those_of_the_measured_runs(monkeypatch):
    """About, since the code has changed since then."""
    monkeypatch.chdir(ROOT)
    content = profiles.content("best")
    params = status.check(content)
    listed, measured = defaultdict(float), defaultdict(list)
    for name in dag.stages(content):
        listed[group(name.partition("@")[0])] += work.listed_seconds(name, work.units(params, name))
    with (ROOT / "bench/results/stage_minutes.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            if row["run"].startswith("best"):
                measured[row["stages"]].append(60 * float(row["minutes"]))
    assert listed.keys() == measured.keys()
    listed["evaluate"] *= len(params.rounds)  # the measured runs evaluated every round
    for name, seconds in measured.items():
        assert 0.4 < listed[name] / np.mean(seconds) < 2.5, name


def test_a_slower_machine_is_noticed():
    once = work.listed_seconds("train_rnn@r0", 1000.0)
    slow = {"train_rnn@r0": Note(0.0, 1000.0, 3 * once), "evolve@r0": Note(0.0, 0.0, work.START_SECONDS)}
    assert work.expected_seconds("train_rnn@r1", 1000.0, slow) == pytest.approx(3 * once)
    pace = work.pace(slow)
    assert pace is not None
    assert 1 < pace < 3
    assert work.expected_seconds("rank", 10.0, slow) == pytest.approx(
        pace * work.listed_seconds("rank", 10.0)
    )
    cut = {"train_rnn@r0": Note(0.0, 1000.0, 3 * once, whole=False), "evolve@r0": Note(0.0, 0.0)}
    assert work.pace(cut) is None
    assert work.expected_seconds("train_rnn@r1", 1000.0, cut) == once


def test_the_lines_show_what_runs_and_the_minutes_left(project, monkeypatch):
    shutil.copy(ROOT / "dvc.yaml", project)
    assert max(map(len, status.lines())) <= 120
    monkeypatch.setenv("DVC_STAGE", "collect@erratic")
    with stage_log.noted(lambda name: 300.0):
        Path(scratch(project, "collect-erratic"), "000000").mkdir()
        lines = status.lines()
    assert max(map(len, lines)) <= 120
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    assert len(lines) == 2 + sum(stage.get("foreach") != {} for stage in stages)
    assert lines[1].split()[:2] == ["collect", "0/2"]
    assert re.search(r" erratic runs: 7 %, \d+\.\d min so far$", lines[1])
    left = sum(float(line.split()[2]) for line in lines[1:-1])
    assert float(lines[-1].split()[1]) == pytest.approx(left, rel=0.1)
    assert "rough" in lines[-1]
    assert "dvc repro" not in lines[-1]
    lines = status.lines()
    assert "at this machine's pace; stages measured: 1)" in lines[-1]
    assert "No stage runs; `uv run dvc repro` continues." in lines[-1]
    with pytest.raises(KeyError), stage_log.noted(lambda name: 300.0):
        raise KeyError
    assert "erratic interrupted" in status.lines()[1]


def test_an_interrupted_stage_resumes_if_it_has_saved_work(project, monkeypatch):
    shutil.copy(ROOT / "dvc.yaml", project)
    monkeypatch.setenv("DVC_STAGE", "collect@erratic")
    with pytest.raises(KeyError), stage_log.noted(lambda name: 300.0):
        raise KeyError
    assert status.lines()[1].endswith("erratic interrupted: starts again")
    Path(scratch(project, "collect-erratic"), "000000").mkdir()
    assert status.lines()[1].endswith("erratic interrupted: 7 %, resumes")
