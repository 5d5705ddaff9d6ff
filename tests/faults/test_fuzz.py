"""The readers on some damaged inputs; `uv run python -m bench.fuzz` tries 100,000 of each."""

import random
from pathlib import Path

import pytest

from bench import fuzz


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_damaged_inputs_are_refused_or_read_as_intact(reader):
    found = fuzz.fuzzed((reader, 300, 2))
    assert found.crashes == []
    assert found.refused + found.accepted == 300
    assert found.refused > 200  # most are damaged in a way that a reader notices
    assert found.megabytes < fuzz.MEGABYTES


def test_the_same_seed_damages_the_same_bytes():
    damaged = [fuzz.damaged_bytes(random.Random(f"1 params {i}"), b"rank: {seed: 1}\n") for i in range(20)]
    again = [fuzz.damaged_bytes(random.Random(f"1 params {i}"), b"rank: {seed: 1}\n") for i in range(20)]
    assert damaged == again
    assert len(set(damaged)) > 15


def crashing(monkeypatch, read):
    """The errors that `fuzz` reports for one input of this reader."""
    monkeypatch.setitem(fuzz.READERS, "made up", lambda folder: lambda rng, folder: lambda: read(folder))
    return [crash.error for crash in fuzz.fuzzed(("made up", 1, 0)).crashes]


def test_the_fuzzer_notices_what_a_reader_must_not_do(monkeypatch, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("secret")
    assert crashing(monkeypatch, lambda folder: (folder / "inside").write_text("x")) == []
    for touch in (
        lambda folder: outside.read_text(),
        lambda folder: (folder / ".." / "elsewhere").write_text("x"),
        lambda folder: outside.unlink(),
        lambda folder: list(Path("/etc").iterdir()),
    ):
        (said,) = crashing(monkeypatch, touch)
        assert said.startswith("Escape: ")
    assert outside.exists()
    (said,) = crashing(monkeypatch, lambda folder: {}["x"])
    assert said.startswith("KeyError: ")
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    (said,) = crashing(monkeypatch, lambda folder: [None for _ in iter(int, 1)])
    assert said.startswith("TooLong: ")
    monkeypatch.setattr(fuzz, "SECONDS", 20)
    peaks = iter([100.0, 101.0 + fuzz.MEGABYTES])
    monkeypatch.setattr(fuzz, "peak", lambda: next(peaks))
    assert crashing(monkeypatch, lambda folder: None) == ["501 MB more than for undamaged inputs"]
