"""Progress on standard error: plain lines now and then, or a bar on a terminal."""

import sys

import pytest

from wm.runtime import progress as module
from wm.runtime.progress import Progress, progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def timed(clock, seconds, count):
    """`count` items that take so many seconds each."""
    for i in range(count):
        clock[0] += seconds
        yield i


def test_lines_come_after_five_seconds_then_every_thirty_and_at_the_end(clock, capsys):
    assert list(progress(timed(clock, 4, 20), "work", 20)) == list(range(20))
    assert capsys.readouterr().err.splitlines() == [
        "work: 2 of 20, 8 s elapsed, 72 s left",
        "work: 10 of 20, 40 s elapsed, 40 s left",
        "work: 18 of 20, 72 s elapsed, 8 s left",
        "work: 20 of 20, 80 s elapsed, 0 s left",
    ]


def test_resumed_work_counts_what_was_done_before(clock, capsys):
    list(progress(timed(clock, 10, 2), "work", 10, done=8))
    assert capsys.readouterr().err.splitlines() == [
        "work: resuming after 8 of 10",
        "work: 9 of 10, 10 s elapsed",
        "work: 10 of 10, 20 s elapsed, 0 s left",
    ]


def test_time_left_leaves_out_compilation(clock, capsys):
    def steps():
        clock[0] += 20  # the first step compiles
        yield 0
        yield from timed(clock, 1, 99)

    list(progress(steps(), "train", 100))
    assert capsys.readouterr().err.splitlines()[:2] == [
        "train: 1 of 100, 20 s elapsed",
        "train: 31 of 100, 50 s elapsed, 69 s left",
    ]


def test_frames_are_reported_before_the_first_drive_is_over(clock, capsys):
    shown = Progress("evaluate", 2)

    def drives():
        for _ in range(4):
            clock[0] += 2
            shown.drove(1000)
        yield 1
        yield 2
        shown.drove(10)  # after the last line

    assert list(shown.over(drives())) == [1, 2]
    assert capsys.readouterr().err.splitlines() == [
        "evaluate: 0 of 2, 3,000 frames driven, 6 s elapsed",
        "evaluate: 2 of 2, 4,000 frames driven, 8 s elapsed, 0 s left",
    ]


def test_on_a_terminal_the_bar_moves_with_the_frames(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = Progress("evaluate", 2)

    def drives():
        shown.drove(1234)
        bar = capsys.readouterr().err
        assert "evaluate:   0%|" in bar
        assert "1,234 frames driven" in bar
        yield from (1, 2)

    assert list(shown.over(drives())) == [1, 2]
    assert "2/2" in capsys.readouterr().err
