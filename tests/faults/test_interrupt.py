"""Stages that are killed, interrupted, or run twice at once."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import small

from wm.runtime import startup
from wm.runtime.files import hold

pytestmark = pytest.mark.slow


ENDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}  # exit code and word


def parts(scratch):
    return len(list(scratch.glob("*/0*/manifest.json")))


def drives(scratch, total):
    return min(10 * parts(scratch), total)  # the last part may hold fewer


def lines(scratch):
    return sum(path.read_bytes().count(b"\n") for path in scratch.glob("*/journal*.jsonl"))


# stage: progress by its scratch folder, progress at which it is killed, its message after the restart
PROGRESS = {
    "collect": (lambda s: drives(s, 24), 10, "drives: resuming after {} of 24"),
    "evaluate": (lambda s: drives(s, 12), 10, "drives: resuming after {} of 12"),
    "explore": (lambda s: drives(s, 21), 10, "drives: resuming after {} of 21"),
    "train_vae": (lambda s: steps(s, "vae"), 5, "train_vae: resuming after {} of 60"),
    "train_rnn": (lambda s: steps(s, "simulator_0"), 5, "train_rnn r0 simulator_0: resuming after {} of 60"),
    "evolve": (lines, 5, "evolve r0: resuming after {} of 40"),
}


def steps(scratch, name):
    return max((small.checkpoint_step(path) for path in scratch.glob(f"*/{name}/newest")), default=0)


def killed(folder, stage):
    """Kills a stage and all its processes in the middle of its work; returns its progress."""
    done, least, _ = PROGRESS[stage]
    running = small.start(folder, small.command(stage, eager=True))
    small.until(lambda: done(folder / ".scratch") >= least, running)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert small.gone(running.pid, 10)
    return done(folder / ".scratch")


def killed_and_run_again(project, folder, stage):
    """Kills a stage in the middle of its work, runs it again, and checks messages and outputs."""
    small.copy(project, folder, without=stage)
    done = killed(folder, stage)
    found, expected = (small.checksums(one, stage) for one in (folder, project))
    assert found.keys() < expected.keys()
    if damaged := stage == "train_vae":
        [newest] = folder.glob(".scratch/*/vae/newest")
        newest.write_bytes(newest.read_bytes()[:-100])
    code, said = small.run(folder, small.command(stage, eager=True))
    assert code == 0, said
    assert ("newest: damaged (checksum mismatch); resuming from the checkpoint before" in said) == damaged
    assert PROGRESS[stage][2].format(done - damaged) in said
    assert small.checksums(folder, stage) == expected
    assert small.leftovers(folder) == []


@pytest.fixture(scope="module")
def outcomes(project, tmp_path_factory):
    """All stages killed and run again, some of them at the same time: they mostly start and compile."""
    folders = {stage: tmp_path_factory.mktemp(stage) for stage in PROGRESS}
    with ThreadPoolExecutor(startup.cores()) as pool:
        yield {s: pool.submit(killed_and_run_again, project, folders[s], s) for s in PROGRESS}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("stage", PROGRESS)
def test_a_killed_stage_resumes_to_the_same_bytes(outcomes, stage):
    outcomes[stage].result()


@pytest.fixture
def collecting(tmp_path):
    """A folder in which drives are being collected, and the process that collects them."""
    yield from collects(tmp_path)


@pytest.fixture
def collecting_in_the_background(tmp_path):
    """The same, started by a shell without job control with `&`: Ctrl-C is ignored."""
    yield from collects(tmp_path, "sh", "-c", 'trap "" INT; exec "$@"', "sh")


def collects(tmp_path, *shell):
    small.params(tmp_path, collect={"lane_follower": {"episodes": 500}})
    running = small.start(tmp_path, [*shell, *small.command("collect")])
    small.until(lambda: parts(tmp_path / ".scratch") > 0, running)
    yield tmp_path, running
    if small.members(running.pid):
        os.killpg(running.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", ENDS)
def test_ctrl_c_and_sigterm_are_one_line_without_orphans_or_half_an_output(collecting, number):
    folder, running = collecting
    os.killpg(running.pid, number)
    code, said = small.ended(running)
    told = [line for line in said.splitlines() if not line.startswith("collect lane_follower: ")]
    assert (code, told) == (ENDS[number][0], [f"{ENDS[number][1]}; rerun the same command to resume"])
    assert small.gone(running.pid, 10)
    assert list((folder / "data" / "raw").iterdir()) == []


def test_a_stage_in_the_background_ignores_ctrl_c_and_ends_at_sigterm(collecting_in_the_background):
    folder, running = collecting_in_the_background
    os.killpg(running.pid, signal.SIGINT)
    done = parts(folder / ".scratch")
    small.until(lambda: parts(folder / ".scratch") > done, running)
    running.terminate()  # its workers do not get the signal
    code, said = small.ended(running)
    assert (code, said.splitlines()[-1]) == (143, "terminated; rerun the same command to resume")
    assert small.gone(running.pid, 10)


@pytest.mark.parametrize("number", ENDS)
def test_ctrl_c_and_sigterm_end_all_rnns_in_training_in_one_line(project, tmp_path, number):
    small.copy(project, tmp_path, without="train_rnn")
    running = small.start(tmp_path, small.command("train_rnn", eager=True))
    small.until(lambda: steps(tmp_path / ".scratch", "rnn") > 0, running)
    os.killpg(running.pid, number)
    code, said = small.ended(running)
    told = [line for line in said.splitlines() if not line.startswith("train_rnn r0 ")]
    assert (code, told) == (ENDS[number][0], [f"{ENDS[number][1]}; rerun the same command to resume"])


def test_workers_end_with_a_parent_that_was_killed(collecting):
    _, running = collecting
    assert len(small.members(running.pid)) > 1
    running.kill()
    assert small.gone(running.pid, 20)


def test_ctrl_c_during_imports_is_at_most_one_line(tmp_path):
    small.params(tmp_path)
    running = small.start(tmp_path, small.command("collect"))
    small.until(lambda: "numpy" in Path(f"/proc/{running.pid}/maps").read_text(), running)
    os.killpg(running.pid, signal.SIGINT)
    assert small.ended(running) in [(-signal.SIGINT, ""), (130, "interrupted\n")]
    assert small.gone(running.pid, 10)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("words", ["wm dream --episodes 100", "stages collect lane_follower"])
def test_ctrl_c_at_the_start_is_one_line(tmp_path, words, seconds):
    small.params(tmp_path, collect={"lane_follower": {"episodes": 500}})
    (tmp_path / "models").symlink_to(small.ROOT / "models")
    running = small.start(tmp_path, [sys.executable, "-c", STARTED, *words.split()])
    assert running.stdout
    assert running.stdout.readline() == "started\n"
    time.sleep(seconds)
    os.killpg(running.pid, signal.SIGINT)
    code, said = small.ended(running)
    told = [line for line in said.splitlines() if not line.startswith("collect lane_follower: ")]
    assert code == 130
    ends = {"interrupted"} | (
        {"interrupted; rerun the same command to resume"} if "stages" in words else set()
    )
    assert len(told) == 1
    assert told[0] in ends  # a drive of `wm` is not saved
    assert small.gone(running.pid, 10)


# a module as `python -m` runs it, which says when it handles Ctrl-C
STARTED = """
import runpy, sys
from wm.runtime import interrupt

def install():
    real()
    print("started", flush=True)

real, interrupt.install = interrupt.install, install
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_during_a_garbage_collection_takes_effect_after_it():
    script = """
import gc, signal, time
from wm.runtime import interrupt

def _xla_gc_callback(phase, info):
    if phase == "start":
        signal.raise_signal(signal.SIGINT)

interrupt.install()
gc.callbacks.append(_xla_gc_callback)
try:
    gc.collect()
    gc.callbacks.clear()
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")


def test_ctrl_c_of_dvc_repro(tmp_path):
    for name in ("stages", "wm"):
        (tmp_path / name).symlink_to(small.ROOT / name)
    shutil.copy(small.ROOT / "dvc.yaml", tmp_path)
    small.params(tmp_path, collect={"lane_follower": {"episodes": 500}})
    variables = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    dvc = [sys.executable, "-m", "dvc"]
    assert small.run(tmp_path, [*dvc, "init", "--no-scm", "-q"], **variables)[0] == 0
    running = small.start(tmp_path, [*dvc, "repro", "-q", "collect@lane_follower"], **variables)
    small.until(lambda: parts(tmp_path / ".scratch") > 0, running)
    os.killpg(running.pid, signal.SIGINT)
    code, said = small.ended(running)
    assert code != 0
    assert "interrupted; rerun the same command to resume" in said
    assert "Traceback" not in said
    assert small.gone(running.pid, 10)
    assert list((tmp_path / "data" / "raw").glob("lane_follower*")) == []
    assert not (tmp_path / "dvc.lock").exists()


def test_two_runs_at_once_do_not_disturb_each_other_and_remove_leftovers_of_killed_ones(project, tmp_path):
    folder = small.copy(project, tmp_path, without="collect erratic")
    dead, alive = (folder / "data" / "raw" / f".erratic.{name}.unfinished" for name in ("x", "y"))
    for left in (dead, alive):
        left.mkdir()
    lock = hold(alive)
    assert lock is not None
    both = [small.start(folder, small.command("collect erratic")) for _ in range(2)]
    assert [small.ended(one)[0] for one in both] == [0, 0]
    lock.close()
    assert small.checksums(folder, "collect erratic") == small.checksums(project, "collect erratic")
    assert small.leftovers(folder) == [str(alive)]
