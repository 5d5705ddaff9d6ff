"""Large numbers: memory does not grow with the work that is asked for, and Ctrl-C ends it."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import small
from short_drives import short_drive
from tiny_agent import tiny_agent

from wm.agent import driving, evaluation
from wm.data.episode import Record
from wm.data.resumable import resumable_episodes, saved_episode
from wm.data.shards import Shards
from wm.dream.starts import unseen_starts
from wm.runtime.workers import Where


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_agent(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("command", ["evaluate", "dream"])
def test_a_hundred_million_drives_start_in_little_memory_and_end_at_ctrl_c(models, command):
    limited = ["sh", "-c", 'ulimit -v 6000000; exec "$@"', "sh"]  # KB
    words = [command, "--models", str(models), "--episodes", "100000000", "--json"]
    running = small.start(small.ROOT, [*limited, sys.executable, "-m", "wm", *words])
    assert running.stderr
    first = running.stderr.readline()
    os.killpg(running.pid, signal.SIGINT)
    began = time.monotonic()
    code, said = small.ended(running)
    assert " of 100000000, " in first
    assert (code, said.splitlines()[-1]) == (130, "interrupted")
    assert time.monotonic() - began < 60
    assert small.gone(running.pid, 10)


def test_an_evaluated_drive_takes_less_than_200_bytes(models, monkeypatch):
    drive, count = short_drive(0, "agent"), 10_000

    def drive_all(files, drives, *rest):
        for each in drives:
            yield replace(drive, record=replace(drive.record, seed=each.seed, score=float(each.seed)))

    monkeypatch.setattr(driving, "drive_all", drive_all)
    result = []
    peak = traced_peak(
        lambda: result.append(evaluation.real(models, range(count), Where("local"), sampled=False))
    )
    ((summary, scores),) = result
    assert peak < 200 * count
    assert (summary["score"]["n"], scores.tolist()) == (count, list(range(count)))


def traced_peak(work):
    """The most bytes that Python and NumPy hold during `work`."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_dreams_are_computed_in_parts_each_like_a_command_of_its_own(models, monkeypatch):
    monkeypatch.setattr(evaluation, "DREAMS", 2)
    first, second = (evaluation.dreamt(models, range(seed, seed + 2))[1] for seed in (5, 7))
    summary, scores = evaluation.dreamt(models, range(5, 9))
    assert scores.tolist() == [*first.tolist(), *second.tolist()]
    assert summary["score"]["n"] == 4


class Drives(Shards):
    """A thousand validation drives of 61 KB each."""

    def __init__(self):
        pass

    def kept(self, *, validation):
        return [Record(i, i, "r0", 240, 0.0, float(i), False) for i in range(1000)]

    def read(self, record):
        latents = np.full((240, 32), record.episode, np.float32)
        return replace(short_drive(0, "r0"), observations={"mu": latents, "logvar": -latents})


def test_start_frames_take_no_more_than_their_drives_first_latents():
    found = []
    assert traced_peak(lambda: found.append(unseen_starts(Drives()))) < 5_000_000
    ((mu, logvar, reward),) = found
    assert mu[:, 0].tolist() == (-logvar[:, 31]).tolist() == reward.tolist() == list(range(1000))


def test_the_last_drives_are_saved_too_so_that_one_can_be_read_again(tmp_path):
    made = list(resumable_episodes(tmp_path, range(12), lambda left: (short_drive(i, "x") for i in left)))
    assert [saved_episode(tmp_path, i).record.seed for i in range(12)] == list(range(12))
    again = resumable_episodes(tmp_path, range(12), lambda left: (short_drive(99, "x") for _ in left))
    assert [episode.record for episode in again] == [episode.record for episode in made]


RESETS = """
from pathlib import Path
import numpy as np
from wm.envs.replayable import ReplayableTrack

track = ReplayableTrack(4, 50)
for seed in range(2001):
    track.reset(seed)
    track.step(np.array([0.1, 0.6, 0.0], np.float32))
    if seed in (200, 2000):
        lines = Path("/proc/self/status").read_text().splitlines()
        print(next(line.split()[1] for line in lines if line.startswith("VmRSS")))
"""


@pytest.mark.slow
def test_1800_more_resets_of_a_track_take_less_than_10_mb():
    ended = subprocess.run([sys.executable, "-c", RESETS], cwd=small.ROOT, capture_output=True, text=True)
    early, late = map(int, ended.stdout.split())
    assert late - early < 10_000  # KB; Box2D loses 304 bytes of every b2FixtureDef, 3 KB per reset
