"""Workers of a Dask cluster, on machines that share the project's folder."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from wm.errors import BadInput, Halted
from wm.packaged import installing
from wm.runtime import startup

CONNECT_SECONDS = 10
WORKER = """
from wm.runtime import interrupt

interrupt.install()  # until Dask handles the signals itself; its import takes a while
from distributed.cli.dask_worker import main

main()
"""


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of the Dask scheduler at `address`, and their number.

    Tasks that have not started when the block ends are dropped. Raises BadInput if no such cluster answers.
    """
    place = f"compute.scheduler: found {address}"
    try:
        from distributed import Client
    except ImportError:
        raise BadInput(f"{place}, but distributed is not installed. {installing('dask')}") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error) or type(error).__name__
        raise BadInput(f"{place}, expected the address of a Dask scheduler: {reason}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise BadInput(f"{place}, which has no workers. Run `wm worker {address}`.") from None
        threads: Any = client.nthreads()  # by worker
        with executor(client, "the worker's output") as workers:
            yield workers, sum(threads.values())


@contextmanager
def executor(client: Any, logs: str) -> Iterator[Executor]:
    """The client's workers. A task whose worker ends is run again by another; raises Halted at the fourth."""
    from distributed import KilledWorker

    try:
        yield client.get_executor(pure=False)
    except KilledWorker as error:
        raise Halted(f"a task ended {error.allowed_failures + 1} workers: see {logs}") from None


def work(address: str, count: int) -> None:
    """Replaces this process by single-threaded workers (0: one per core) of a Dask scheduler."""
    if find_spec("distributed") is None:
        raise BadInput(f"worker: distributed is not installed. {installing('dask')}")
    dask = [sys.executable, "-c", WORKER, address]
    command = [*dask, "--nworkers", str(count or startup.cores()), "--nthreads", "1", "--no-dashboard"]
    os.execve(sys.executable, command, os.environ | startup.one_thread())
