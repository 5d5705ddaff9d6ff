import os
import subprocess
import sys
import time

import pytest

from wm import scratch


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
    monkeypatch.setattr(scratch, "_code", lambda: [["wm.fit", "another"]])
    names.append(opened())
    assert len(set(names)) == len(names)


def test_the_code_that_counts_is_what_is_loaded():
    assert {"wm.scratch", "wm.files"} <= {name for name, _ in scratch._code()}


def test_the_same_work_begun_twice_has_two_folders(root):
    hold = (
        "import sys, time\nfrom wm import scratch\nscratch._code = lambda: []\n"
        "with scratch.folder('train r0', 1, []) as folder:\n"
        "    print(folder.name, flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    theirs = other.stdout.readline().strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "_code", list)
        with scratch.folder("train r0", 1, []) as folder:
            assert folder.name == f"{theirs}-2"
        other.kill()
        other.wait()
        deadline = time.monotonic() + 10
        while opened() != theirs:  # the dead hold nothing
            assert time.monotonic() < deadline
    assert os.listdir(root) == []
