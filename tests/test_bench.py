"""What the bench says follows from what it measured."""

import argparse

import pytest

from bench import hypotheses
from bench.timing import Row, alternate


def test_a_row_tells_the_ratio_and_the_share_of_the_limit():
    row = Row("dream", "steps", 3000.0, "PyTorch", 1200.0, "the matrix product", 4000.0)
    assert row.cells == ["dream", "steps", "3,000", "PyTorch 1,200", "2.50", "75 % of the matrix product"]
    assert Row("dream", "steps", 2.345).cells == ["dream", "steps", "2.35", "", "", ""]


def test_all_take_turns_and_the_first_turn_does_not_count(monkeypatch):
    clock, turns = [0.0], []

    def run(name, *seconds):
        left = iter(seconds)

        def one():
            turns.append(name)
            clock[0] += next(left)

        return one

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert alternate({"a": run("a", 100, 1, 9, 2), "b": run("b", 100, 5, 5, 5)}, rounds=3) == {"a": 2, "b": 5}
    assert turns == ["a", "b"] * 4


def test_a_share_is_a_part_of_so_many():
    assert hypotheses.share("2/3") == (2, 3)
    for wrong in ("3/2", "0/2", "1/0", "1", "a/b", "-1/2"):
        with pytest.raises(argparse.ArgumentTypeError, match="wanted I/N"):
            hypotheses.share(wrong)
