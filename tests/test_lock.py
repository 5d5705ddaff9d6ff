"""dvc.lock keeps the records of the stages that exist."""

from wm.pipeline import lock
from wm.runtime import files

DAG = """stages:
  collect: {foreach: [a], do: {cmd: x}}
  train: {foreach: "${rounds}", do: {cmd: x}}
  rank: {cmd: x}
"""
RECORD = "    cmd: x\n    deps:\n    - path: a\n      md5: 0\n"
LOCK = "schema: '2.0'\nstages:\n" + "".join(
    f"  {name}:\n{RECORD}" for name in ("collect@a", "train@r0", "train@r1", "gone", "gone@r0", "rank")
)


def test_records_of_stages_and_rounds_that_are_gone_are_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_bytes(lock.DAG, DAG.encode())
    files.write_bytes(lock.LOCK, LOCK.encode())
    lock.prune({"rounds": {"r0": {"prev": "init"}}})
    kept = "".join(f"  {name}:\n{RECORD}" for name in ("collect@a", "train@r0", "rank"))
    assert lock.LOCK.read_text() == f"schema: '2.0'\nstages:\n{kept}"


def test_a_lock_whose_stages_all_exist_stays_as_it_is():
    names = {"collect@a", "train@r0", "train@r1", "gone", "gone@r0", "rank"}
    assert lock.pruned(LOCK, names) == LOCK


def test_a_project_without_a_lock_has_nothing_to_prune(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lock.prune({"rounds": {}})
    assert list(tmp_path.iterdir()) == []
