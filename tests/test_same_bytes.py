"""The whole DAG with the smoke profile a second time; its programs come from the first run."""

from smoke_run import dvc, smoke_clone, smoke_run, started

from bench.chaos import checksums


def test_two_rounds_at_once_by_one_worker_write_the_same_bytes(tmp_path, tmp_path_factory):
    second = smoke_clone(tmp_path / "wm", workers=1)
    ran = started(dvc(second, "repro"))
    first = smoke_run(tmp_path_factory)
    assert ran == first.first | first.second
    assert len(first.checksums) > 40
    assert checksums(second) == first.checksums
