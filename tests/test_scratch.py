import os
import subprocess
import sys
import time

import pytest

from wm.errors import Resumable
from wm.runtime import code, files, scratch


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path / ".scratch"


def opened(params=1, inputs=()):
    with scratch.folder("train r0", params, list(inputs)) as folder:
        return folder.name


def test_the_folder_outlives_a_failure_and_not_a_success(root):
    def fail():
        with scratch.folder("train r0", 1, []) as folder:
            (folder / "half").write_text("done")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with scratch.folder("train r0", 1, []) as folder:
        assert (folder / "half").read_text() == "done"
    assert list(root.iterdir()) == []


def test_other_params_inputs_or_code_have_another_folder(tmp_path, monkeypatch):
    model, shards = tmp_path / "model", tmp_path / "shards"
    model.write_text("a")
    shards.mkdir()
    (shards / "manifest.json").write_text("{}")
    names = [opened(), opened(params=2), opened(inputs=[model]), opened(inputs=[shards])]
    assert opened() == names[0]
    model.write_text("b")
    names.append(opened(inputs=[model]))
    (shards / "manifest.json").write_text("{ }")
    names.append(opened(inputs=[shards]))
    monkeypatch.setattr(scratch, "_code", lambda stage: "another")
    names.append(opened())
    assert len(set(names)) == len(names)


def test_abandoned_work_is_removed_when_its_stage_succeeds(root):
    def left(name, days):
        (root / name).mkdir(parents=True)
        (root / name / "lock").touch()
        then = time.time() - days * 24 * 3600
        os.utime(root / name / "lock", (then, then))

    left("train-r0-0123456789abcdef", 15)
    left("train-r0-0123456789abcdef-2", 15)
    kept = ["train-r0-fedcba9876543210", "train-r0-x-0123456789abcdef", "train-r1-0123456789abcdef"]
    for name, days in zip(kept, (13, 99, 99), strict=True):  # not old enough, another stage, another round
        left(name, days)
    opened()
    assert sorted(os.listdir(root)) == sorted(kept)


def test_old_folders_are_kept_while_a_process_uses_them(root):
    path = root / "train-r0-0123456789abcdef"
    path.mkdir(parents=True)
    lock = files.hold(path)
    assert lock is not None
    os.utime(path / "lock", (0, 0))
    opened()
    assert path.exists()
    lock.close()


@pytest.mark.parametrize("resumes", [True, False])
def test_only_work_that_resumes_is_said_to(root, monkeypatch, resumes):
    monkeypatch.setattr(scratch, "_code", lambda stage: "")
    with pytest.raises(KeyboardInterrupt) as caught, scratch.folder("rank", 1, [], resumes=resumes):
        raise KeyboardInterrupt
    assert isinstance(caught.value, Resumable) == resumes


def test_the_code_that_counts_is_what_the_stage_imports():
    assert scratch._code("evolve r0") == code.digest(code.stage_modules("evolve"))
    assert scratch._code("no_stage r0") == code.digest(code.project())


def test_the_same_work_begun_twice_has_two_folders(root):
    hold = (
        "import sys, time\nfrom wm.runtime import scratch\nscratch._code = lambda stage: ''\n"
        "with scratch.folder('train r0', 1, []) as folder:\n"
        "    print(folder.name, flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    theirs = other.stdout.readline().strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "_code", lambda stage: "")
        with scratch.folder("train r0", 1, []) as folder:
            assert folder.name == f"{theirs}-2"
        other.kill()
        other.wait()
        deadline = time.monotonic() + 10
        while opened() != theirs:  # a dead process's lock is released
            assert time.monotonic() < deadline
    assert os.listdir(root) == []
