"""Time of real drives by number of workers: `uv run --extra dask python -m bench.scale`.

The published agent's drives and scripted drives, on 1, 2 and 4 processes of this machine and on as many
workers of a Dask cluster on the loopback interface. The times include the start of processes, but not that
of the cluster. Rows with more workers than cores do not show what another machine would add.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import process
from stages import collect
from wm.agent import driving
from wm.agent.drive import Drive
from wm.agent.folder import AgentFolder
from wm.params.compute import LOCAL
from wm.runtime import startup, workers
from wm.runtime.places import PRETRAINED
from wm.runtime.workers import Where
from wm.spec import Timing

TIMING = Timing(action_repeat=4, warm_up_frames=50)
FIRST_TRACK = 900_000_000  # far from those of any stage


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--episodes", type=int, default=80, help="drives per measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    print(f"{startup.cores()} cores; minutes for 1,000 drives, from {arguments.episodes}", file=sys.stderr)
    print("workers,where,scripted_minutes,agent_minutes")
    for count in arguments.workers:
        local = Where(LOCAL, count)
        print(row(count, "processes", local, arguments.episodes), flush=True)
        with dask(count) as cluster:
            print(row(count, "Dask", cluster, arguments.episodes), flush=True)


def row(workers: int, name: str, where: Where, episodes: int) -> str:
    """A line of bench/results/drives.csv."""
    minutes = [seconds(where, episodes) / 60 * 1000 / episodes for seconds in (scripted, driven)]
    return f"{workers},{name},{','.join(f'{number:.1f}' for number in minutes)}"


def scripted(where: Where, episodes: int) -> float:
    """Seconds for drives of the lane follower."""
    tasks = [("lane_follower", TIMING, FIRST_TRACK + i) for i in range(episodes)]
    start = time.monotonic()
    with workers.pool(*where) as pool:
        for _ in workers.ordered(pool, collect.episode, tasks):
            pass
    return time.monotonic() - start


def driven(where: Where, episodes: int) -> float:
    """Seconds for drives of the agent."""
    drives = [Drive(FIRST_TRACK + i) for i in range(episodes)]
    start = time.monotonic()
    for _ in driving.drive_all(AgentFolder(PRETRAINED).files, drives, TIMING, "bench", where):
        pass
    return time.monotonic() - start


@contextmanager
def dask(count: int) -> Iterator[Where]:
    """A cluster of `count` workers on the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, options = f"tcp://127.0.0.1:{port}", ["--host", "127.0.0.1", "--port", str(port)]
    scheduler = run_module("distributed.cli.dask_scheduler", *options, "--no-dashboard")
    worker = run_module("wm.cli", "worker", address, "--workers", str(count))
    try:
        from distributed import Client

        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)
        yield Where(address)
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait()


def run_module(*module: str) -> subprocess.Popen:
    """A new process that runs a module, without its messages."""
    return subprocess.Popen([sys.executable, "-m", *module], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    process.set_up()
    main()
