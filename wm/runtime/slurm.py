"""Jobs of a SLURM cluster as Dask workers, started by dask-jobqueue."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from wm.errors import BadInput
from wm.packaged import installing
from wm.runtime import dask
from wm.runtime.startup import one_thread

LOGS = Path(".scratch", "slurm")
PROGRAMS = ("sbatch", "scancel")
JOB = {"job_name": "wm", "cores": 1, "processes": 1, "memory": "2GB", "walltime": "04:00:00"}
LIFETIME = ["--lifetime", "225m", "--lifetime-stagger", "10m"]  # workers end before SLURM ends their jobs


@contextmanager
def jobs(count: int) -> Iterator[Executor]:
    """Keeps `count` jobs running, each a worker of one core; cancels them when the block ends.

    A lost job is replaced and its tasks are run again. sbatch's own variables set partition, account and the
    like (SBATCH_PARTITION, SBATCH_ACCOUNT); Dask's configuration sets the network interface. Raises BadInput
    if no job can be submitted.
    """
    place = "compute.scheduler: found slurm"
    try:
        from dask_jobqueue.slurm import SLURMCluster
        from distributed import Client
    except ImportError:
        raise BadInput(f"{place}, but dask-jobqueue is not installed. {installing('slurm')}") from None
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        raise BadInput(f"{place}, expected a machine of a SLURM cluster: {missing[0]} is not installed")
    if not count:
        raise BadInput("compute.workers: found 0, expected the number of concurrent SLURM jobs")
    root = Path(os.environ.get("DVC_ROOT", ".")).absolute() / LOGS
    root.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(dir=root))
    exports = [f"export {name}={shlex.quote(value)}" for name, value in one_thread().items()]
    cluster = SLURMCluster(
        **JOB,
        log_directory=str(logs),
        local_directory=str(logs),
        job_script_prologue=exports,
        worker_extra_args=["--no-dashboard", *LIFETIME],
        scheduler_options={"dashboard_address": None, "dashboard": False},
        security=True,  # temporary certificates, in files that only this user can read
        shared_temp_directory=str(root),
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        cluster.adapt(minimum_jobs=count, maximum_jobs=count)
        with dask.executor(client, f"the logs of the jobs in {logs}") as executor:
            yield executor
    shutil.rmtree(logs)
