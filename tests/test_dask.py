"""A real Dask cluster on this machine, with worker processes: the same drives as without a cluster."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import jax.random as jr
import numpy as np
import pytest
from tiny_agent import tiny_agent

from stages import collect
from wm.agent import driving
from wm.errors import BadInput, Halted
from wm.models.controller import Controller
from wm.params import section
from wm.params.compute import Compute
from wm.runtime import dask, model_file, workers
from wm.spec import Timing

ROOT = Path(__file__).parents[1]
TASKS = [("erratic", Timing(action_repeat=8, warm_up_frames=50), seed) for seed in range(12)]


def evaluate(*options):
    """`wm evaluate`."""
    command = [sys.executable, "-m", "wm.cli", "evaluate", "--seed", "5", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def started(*command):
    """A process that leads a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port):
    deadline = time.monotonic() + 120
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextmanager
def running_scheduler():
    """The address of a Dask scheduler without workers."""
    address = ["--host", "127.0.0.1", "--port", str(free_port()), "--no-dashboard"]
    process = started("distributed.cli.dask_scheduler", *address)
    try:
        wait_for_port(int(address[3]))
        yield f"tcp://127.0.0.1:{address[3]}"
    finally:
        kill(process)


@pytest.fixture(scope="module")
def scheduler():
    """The address of a Dask scheduler."""
    with running_scheduler() as address:
        yield address


@pytest.fixture(scope="module")
def two_workers(scheduler):
    """Two workers, started by `wm worker`."""
    processes = [started("wm.cli", "worker", scheduler, "--workers", "1") for _ in range(2)]
    wait_for(scheduler, len(processes))
    yield processes
    for process in processes:
        if process.poll() is None:
            kill(process)


def wait_for(scheduler, count):
    from distributed import Client

    with Client(scheduler, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=120)


@pytest.fixture
def agent(tmp_path):
    """The folder of a small agent whose actions depend on what it sees."""
    controller = Controller(features=12)
    random = controller.with_parameters(jr.normal(jr.key(2), controller.parameters.shape))
    model_file.save(tiny_agent(tmp_path) / "controller.eqx", random)
    return tmp_path


def compared(episode):
    return (episode.record, *(part.tobytes() for part in (episode.actions, episode.rewards)))


def test_an_agent_scores_the_same_on_the_cluster(scheduler, two_workers, agent):
    """There are so many drives that more than one worker drives at once."""
    given = ("--models", str(agent), "--episodes", str(driving.CARS + 1), "--json")
    home, away = (json.loads(evaluate(*given, *more).stdout) for more in ((), ("--scheduler", scheduler)))
    assert (home["real"], home["returns"]) == (away["real"], away["returns"])


def test_drives_are_the_same_though_a_worker_is_killed_midway(scheduler, two_workers):
    with workers.pool("local", 2) as pool:
        expected = list(workers.ordered(pool, collect.episode, TASKS))
    found = []
    with workers.pool(scheduler) as pool:
        assert pool.workers == 2
        for episode in workers.ordered(pool, collect.episode, TASKS):
            found.append(episode)
            if len(found) == 2:
                kill(two_workers[0])
    for one, other in zip(found, expected, strict=True):
        assert compared(one) == compared(other)
        np.testing.assert_array_equal(one.observations["frame"], other.observations["frame"])


def test_tasks_that_have_not_started_are_dropped_with_the_pool(scheduler, two_workers):
    from distributed import Client

    with workers.pool(scheduler) as pool:
        next(workers.ordered(pool, time.sleep, [0, *[20] * 7]))
    with Client(scheduler, timeout=60, set_as_default=False) as client:
        assert not client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.tasks)


def test_a_scheduler_without_workers_is_refused(monkeypatch):
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 3)
    with (
        running_scheduler() as scheduler,
        pytest.raises(BadInput, match=f"has no workers. Run `wm worker {scheduler}`"),
        workers.pool(scheduler),
    ):
        pass


def test_an_address_without_a_scheduler_is_refused_in_one_line():
    address = f"tcp://127.0.0.1:{free_port()}"
    ended = evaluate("--scheduler", address)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: compute.scheduler: found {address}, expected the address")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("scheduler", ["dask", "http://host:8786", "tcp://"])
def test_a_name_that_is_no_address_is_refused(scheduler):
    with pytest.raises(
        BadInput, match=f"here: compute.scheduler: found '{scheduler}', expected local, slurm or the address"
    ):
        section.validated(Compute, {"scheduler": scheduler, "workers": 0}, "here: compute")


@pytest.mark.parametrize("scheduler", ["local", "host:8786"])
def test_a_worker_needs_an_address(scheduler):
    command = [sys.executable, "-m", "wm.cli", "worker", scheduler]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    expected = "expected the address of a Dask scheduler, tcp://host:8786"
    assert (ended.returncode, ended.stderr) == (2, f"error: worker: found {scheduler!r}, {expected}\n")


def test_ctrl_c_while_a_worker_starts_is_one_line():
    command = [sys.executable, "-m", "wm", "worker", "tcp://127.0.0.1:9"]
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        pipesize=4096,  # so that the worker's imports wait for their lines to be read
        text=True,
        start_new_session=True,
    )
    assert running.stderr
    while "distributed" not in running.stderr.readline():
        pass
    os.killpg(running.pid, signal.SIGINT)
    lines = running.communicate(timeout=60)[1].splitlines()
    said = [line for line in lines if not line.startswith("import time:")]
    assert (running.returncode, said) == (130, ["interrupted"])


def test_a_worker_of_other_code_is_refused(monkeypatch):
    task = workers.SameCode(abs)
    assert task(-3) == 3
    task.checksum = "other"
    with pytest.raises(Halted, match="found other code"):
        task(-3)
