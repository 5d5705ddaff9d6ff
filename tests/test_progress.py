"""Progress on standard error: plain lines now and then, or a bar on a terminal."""

import os
import subprocess
import sys
import termios
import time

import pytest

from wm.runtime import progress as module
from wm.runtime.progress import Progress, heartbeat, progress, shown_elsewhere
from wm.runtime.run import run


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


def frames(drive):
    """The frames of a drive, which stands for itself."""
    return drive


def test_frames_are_reported_before_the_first_drive_is_over(clock, capsys):
    """Two drives of 800 frames at 250 frames/s; at first they may have up to 1,000 frames."""
    shown = Progress("evaluate", 2)

    def drives():
        for _ in range(8):
            clock[0] += 0.8
            shown.drove(200)
        yield 800
        yield 800

    assert list(shown.over(drives(), frames)) == [800, 800]
    assert capsys.readouterr().err.splitlines() == [
        "evaluate: 0 of 2, 1,400 frames driven, 6 s elapsed, 2 s left",
        "evaluate: 2 of 2, 1,600 frames driven, 6 s elapsed, 0 s left",
    ]


def test_time_left_counts_the_drives_under_way(clock, capsys):
    """Twenty drives of 500 frames, all at once: the first one ends when the others have almost ended."""
    shown = Progress("evaluate", 20)

    def drives():
        for _ in range(48):
            clock[0] += 1
            shown.drove(200)
        yield 500
        for _ in range(2):
            clock[0] += 1
            shown.drove(200)
        yield from [500] * 19

    list(shown.over(drives(), frames))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "evaluate: 0 of 20, 1,000 frames driven, 5 s elapsed, 95 s left"
    assert lines[1] == "evaluate: 0 of 20, 7,000 frames driven, 35 s elapsed, 65 s left"
    assert len(lines) == 3
    assert shown.share == 20


def test_time_left_does_not_count_drives_of_an_earlier_run(clock, capsys):
    shown = Progress("collect", 10)

    def drives():
        yield from [400] * 8  # read from files
        for _ in range(5):
            clock[0] += 1
            shown.drove(80)
        yield 400
        clock[0] += 5
        shown.drove(400)
        yield 400

    list(shown.over(drives(), frames))
    assert capsys.readouterr().err.splitlines() == [
        "collect: 8 of 10, 400 frames driven, 5 s elapsed, 5 s left",
        "collect: 10 of 10, 800 frames driven, 10 s elapsed, 0 s left",
    ]


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes standard error a terminal; pytest opens it again before each test."""
    return lambda: monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_on_a_terminal_the_bar_moves_with_the_frames(capsys, terminal):
    terminal()
    shown = Progress("evaluate", 2)

    def drives():
        shown.drove(500)
        bar = capsys.readouterr().err
        assert "evaluate:  25%|" in bar
        assert "0 of 2, 500 frames driven" in bar
        yield from (800, 800)

    assert list(shown.over(drives(), frames)) == [800, 800]
    bar = capsys.readouterr().err
    assert "evaluate: 100%|" in bar
    assert "2 of 2" in bar


@pytest.fixture
def quick(monkeypatch):
    """Seconds become hundredths."""
    for name in ("FIRST_LINE_SECONDS", "LINE_SECONDS", "BEAT_SECONDS"):
        monkeypatch.setattr(module, name, getattr(module, name) / 100)


def test_every_command_shows_on_a_terminal_that_work_goes_on(capsys, terminal, quick):
    terminal()
    run(lambda *words: time.sleep(0.5), "train_rnn", "r0", "init", "--seed", "1")
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("train_rnn r0 init: working, 0 s elapsed") for line in lines)


def test_off_a_terminal_a_command_writes_nothing_of_its_own(capsys, quick):
    run(time.sleep, 0.3)
    assert capsys.readouterr().err == ""


def test_a_bar_is_drawn_again_in_silence_instead_of_lines(capsys, terminal, quick):
    terminal()
    with heartbeat("encode"):
        for number in progress(range(2), "frames", 2):
            time.sleep(0.4)
            assert capsys.readouterr().err.count("frames: ") >= 2 - number
    with heartbeat("play"), shown_elsewhere():
        time.sleep(0.3)
    assert "working" not in capsys.readouterr().err


@pytest.mark.parametrize(("size", "shown"), [((0, 0), "work: 2 of 2, "), ((30, 100), "work: 100%|")])
def test_a_terminal_without_a_size_shows_lines_instead_of_a_bar(size, shown):
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, size)
    code = "from wm.runtime.progress import progress; list(progress(range(2), 'work', 2))"
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    os.close(theirs)
    assert shown in os.read(ours, 10_000).decode()
    os.close(ours)
