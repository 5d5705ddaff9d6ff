"""Workers of a Dask cluster, on machines that share the project's folder."""

import os
import sys
from importlib.util import find_spec

from wm.errors import BadInput, shown
from wm.params.compute import DASK_ADDRESS
from wm.runtime import workers


def work(address: str, count: int) -> None:
    """Replaces this process by `count` single-threaded workers (0: one per core) of a Dask scheduler."""
    if not DASK_ADDRESS.fullmatch(address):
        expected = "expected the address of a Dask scheduler, tcp://host:8786"
        raise BadInput(f"worker: found {shown(address)}, {expected}")
    if find_spec("distributed") is None:
        raise BadInput("worker: needs the extra dask: `uv sync --extra dask`")
    dask = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    command = [*dask, "--nworkers", str(count or workers.cores()), "--nthreads", "1", "--no-dashboard"]
    os.execve(sys.executable, command, os.environ | workers.ONE_THREAD)
