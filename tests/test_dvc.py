"""What the documents say of DVC, in a small project whose stages are built like those of dvc.yaml."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import smoke_run
from dvc import lock as dvc_lock
from dvc.cli import main
from ruamel.yaml import YAML

from wm import packaged
from wm.pipeline import repo_lock
from wm.runtime import files, places

DAG = """stages:
  collect:
    foreach: [erratic]
    do:
      cmd: echo collect@${item} >>$RAN; mkdir -p data/raw/${item}; sh ${item}.sh >data/raw/${item}/shard
      deps: ["${item}.sh"]
      params: ["collect.${item}"]
      outs: ["data/raw/${item}"]
  train_vae:
    cmd: echo train_vae >>$RAN; grep steps params.yaml | tee models/vae.eqx >metrics/train_vae.json
    deps: [data/raw]
    params: [train_vae]
    outs:
      - models/vae.eqx
      - metrics/train_vae.json: {cache: false}
  evolve:
    foreach: ${rounds}
    do:
      cmd: echo evolve@${key} >>$RAN; grep temperature params.yaml | cat models/vae.eqx - >models/${key}.eqx
      deps: [models/vae.eqx]
      params: [evolve]
      outs: ["models/${key}.eqx"]
"""
PARAMS = """collect:
  erratic: 1
  straight: 1
train_vae:
  steps: 1
evolve:
  temperature: 1.0
rounds:
  r0: {prev: init}
"""
ALL = ["collect@erratic", "evolve@r0", "train_vae"]
IGNORED = "/data/\n/models/*\n!/models/.keep\n"
IDENTITY = {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def dvc_(*words):
    """The exit code of a command of DVC in the working folder."""
    return main(["-q", *words])


def git(*words):
    subprocess.run(["git", *words], check=True, capture_output=True)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A function that lists the stages that have run since it was called last, sorted."""
    record = tmp_path / "ran"
    record.write_text("")
    monkeypatch.setenv("RAN", str(record))

    def names():
        lines = sorted(record.read_text().split())
        record.write_text("")
        return lines

    return names


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The project after `dvc repro`, committed."""
    folder = tmp_path_factory.mktemp("dvc") / "project"
    for name in ("models", "metrics"):
        (folder / name).mkdir(parents=True)
        (folder / name / ".keep").touch()
    texts = {"dvc.yaml": DAG, "params.yaml": PARAMS, ".gitignore": IGNORED, "erratic.sh": "echo erratic\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        for name, value in {**IDENTITY, "RAN": os.devnull}.items():
            patch.setenv(name, value)
        git("init", "-q", "-b", "main")
        assert dvc_("init") == 0
        assert dvc_("repro") == 0
        git("add", ".")
        git("commit", "-qm", "run")
    return folder


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    """A copy of the template, which is the working folder."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    for name, value in IDENTITY.items():  # DVC commits experiments
        monkeypatch.setenv(name, value)
    return folder


def params():
    return YAML(typ="safe").load(Path("params.yaml"))


def set_param(old, new):
    path = Path("params.yaml")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_clone_pulls_the_data_and_runs_only_what_a_parameter_changes(project, ran, tmp_path, monkeypatch):
    assert dvc_("remote", "add", "-d", "shared", str(tmp_path / "remote")) == 0
    git("commit", "-qam", "remote")
    assert dvc_("push") == 0
    git("clone", "-q", ".", str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    assert dvc_("pull") == 0
    assert dvc_("exp", "run", "-S", "evolve.temperature=1.3") == 0
    assert ran() == ["evolve@r0"]
    assert Path("models/r0.eqx").read_text() == "  steps: 1\n  temperature: 1.3\n"


def test_a_dry_run_with_force_lists_all_stages_of_a_clone(project, tmp_path):
    git("clone", "-q", ".", str(tmp_path / "clone"))
    shown = smoke_run.dvc(tmp_path / "clone", "repro", "--dry", "--force")
    assert smoke_run.started(shown) == set(ALL)


def test_an_experiment_keeps_the_parameters_of_the_last_one_until_git_restores_them(project):
    assert dvc_("exp", "run", "-S", "evolve.temperature=1.3") == 0
    assert dvc_("exp", "run", "-S", "train_vae.steps=2") == 0
    assert params()["evolve"]["temperature"] == 1.3
    git("checkout", "params.yaml")
    assert dvc_("exp", "run", "-S", "train_vae.steps=2") == 0
    assert (params()["evolve"]["temperature"], params()["train_vae"]["steps"]) == (1.0, 2)


def test_an_experiment_in_a_folder_of_its_own_has_new_files_that_git_knows(project, ran):
    """As `--queue`, which starts a process of its own."""
    Path("dvc.yaml").write_text(DAG.replace("[erratic]", "[erratic, straight]", 1))
    Path("straight.sh").write_text("echo straight\n")
    assert dvc_("exp", "run", "--temp") != 0
    assert "collect@straight" not in ran()
    git("add", "straight.sh")
    assert dvc_("exp", "run", "--temp") == 0
    assert "collect@straight" in ran()


def test_a_conflict_in_dvc_lock_is_settled_by_either_side_and_repro(project, ran):
    for branch, change in {
        "hot": ("temperature: 1.0", "temperature: 1.3"),
        "long": ("steps: 1", "steps: 2"),
    }.items():
        git("checkout", "-qb", branch, "main")
        set_param(*change)
        assert dvc_("repro") == 0
        git("commit", "-qam", branch)
    assert ran() == ["evolve@r0", "evolve@r0", "train_vae"]
    lock = Path("dvc.lock").read_text()
    with pytest.raises(subprocess.CalledProcessError):
        git("merge", "hot")
    git("checkout", "--ours", "dvc.lock")
    assert Path("dvc.lock").read_text() == lock
    assert dvc_("repro") == 0
    assert ran() == ["evolve@r0"]  # the cache has the rest
    assert Path("models/r0.eqx").read_text() == "  steps: 2\n  temperature: 1.3\n"


def damaged():
    """The files in DVC's cache whose content is not that of their names."""
    paths = [path for path in Path(".dvc/cache/files/md5").rglob("*") if path.is_file()]
    assert len(paths) > 3
    named = {path: (path.parent.name + path.name).removesuffix(".dir") for path in paths}
    return [path for path, md5 in named.items() if hashlib.md5(path.read_bytes()).hexdigest() != md5]


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_outputs_that_are_links_are_replaced_and_not_written_through(project, ran, link):
    """Stages write through `files.replacing`, also without DVC, which removes outputs before it runs them."""
    assert dvc_("config", "cache.type", link) == 0
    assert dvc_("checkout", "--relink") == 0
    model, shard = Path("models/vae.eqx"), Path("data/raw/erratic/shard")
    for path in (model, shard):
        assert path.is_symlink() if link == "symlink" else path.stat().st_nlink == 2
    files.write_bytes(model, b"new")
    with files.replacing(shard.parent) as folder:
        folder.mkdir()
        (folder / shard.name).write_text("new")
    assert (model.read_text(), shard.read_text()) == ("new", "new")
    assert damaged() == []
    set_param("temperature: 1.0", "temperature: 1.3")
    assert dvc_("repro", "--force") == 0
    assert ran() == ALL
    assert damaged() == []


def remedied(path, *, missing=False):
    """Runs the first command that the remedy for a file names."""
    name, *words = places.remedy(path, missing=missing).split("`")[1].split()
    if name == "git":
        git(*words)
    else:
        assert dvc_(*words) == 0


def test_the_remedy_of_a_damaged_or_missing_output_restores_it(project, ran):
    for place, name in ((places.VAE_MODEL, ""), (places.RAW / "erratic", "shard")):
        path = place / name
        before = path.read_text()
        path.write_text("damaged")
        remedied(place)
        assert path.read_text() == before
        path.unlink()
        remedied(place, missing=True)
        assert path.read_text() == before
    assert ran() == []


@pytest.mark.parametrize("folder", [".", "models"])
def test_the_remedy_of_a_damaged_published_model_restores_it(project, monkeypatch, folder):
    path = project / places.PRETRAINED / "vae.eqx"
    path.parent.mkdir()
    path.write_text("published")
    git("add", "-f", str(path))
    git("commit", "-qm", "publish")
    path.write_text("damaged")
    monkeypatch.setattr(packaged, "PACKAGE", project / "wm")
    monkeypatch.chdir(folder)
    remedied(path)
    assert path.read_text() == "published"


LATE = """stages:
  late:
    cmd: >-
      flock .dvc/tmp/lock sh -c "touch held; sleep 2" &
      until [ -e held ]; do sleep 0.05; done;
      echo late >>$RAN; echo done >late; WAIT
    outs: [late]
"""
WAIT = f"{sys.executable} -c 'from wm.pipeline import repo_lock; repo_lock.wait_until_free()'"


@pytest.mark.parametrize("command", [("repro", "late"), ("exp", "run", "late")], ids=" ".join)
def test_a_stage_ends_when_no_other_command_holds_the_lock(project, ran, monkeypatch, command):
    """DVC itself waits for three seconds, here for a tenth of that."""
    monkeypatch.setattr(dvc_lock, "DEFAULT_TIMEOUT", 0.3)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    Path("dvc.yaml").write_text(LATE.replace("WAIT", WAIT))
    assert dvc_(*command) == 0
    assert ran() == ["late"]
    assert Path("late").read_text() == "done\n"


def test_a_finished_stage_that_dvc_has_not_recorded_is_kept_by_commit(project, ran, monkeypatch):
    monkeypatch.setattr(dvc_lock, "DEFAULT_TIMEOUT", 0.3)
    Path("dvc.yaml").write_text(LATE.replace("WAIT", "true"))
    assert dvc_("repro") == 255
    time.sleep(2)
    assert dvc_("commit", "-f", "late") == 0
    assert dvc_("repro") == 0
    assert ran() == ["late"]


@pytest.fixture
def held_lock(tmp_path, monkeypatch):
    """DVC's lock on the working folder, held by another process."""
    monkeypatch.chdir(tmp_path)
    repo_lock.LOCK.parent.mkdir(parents=True)
    with repo_lock.LOCK.open("w") as lock:
        lock.write(" 123\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def test_a_waiting_stage_says_for_what(held_lock, monkeypatch, capsys):
    monkeypatch.setenv("DVC_STAGE", "evolve@r0")
    waiting = threading.Thread(target=repo_lock.wait_until_free)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    fcntl.flock(held_lock, fcntl.LOCK_UN)
    waiting.join(20)
    assert not waiting.is_alive()
    assert capsys.readouterr().err == "done; waiting for another command of DVC (process 123) to end\n"


def test_a_stage_that_dvc_does_not_run_waits_for_nothing(held_lock, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    repo_lock.wait_until_free()
