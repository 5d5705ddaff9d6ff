"""The whole DAG with the smoke profile a second time; its programs come from the first run."""

from smoke_run import dvc, smoke_run

from bench.chaos import checksums, clone


def test_two_runs_from_nothing_write_the_same_bytes(tmp_path, tmp_path_factory):
    second = clone(tmp_path / "wm")
    dvc(second, "repro")
    first = smoke_run(tmp_path_factory)
    assert len(first.checksums) > 40
    assert checksums(second) == first.checksums
