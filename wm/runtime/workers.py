"""Independent tasks on all cores or on a cluster, results in the order of the tasks.

Processes of this machine, an existing Dask cluster, or jobs of SLURM, which share the project's folder: the
results are the same, whichever it is and however many they are.
"""

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from wm.errors import BadInput, Halted
from wm.params.compute import LOCAL, SLURM, Compute
from wm.runtime import code

Task = TypeVar("Task")
Result = TypeVar("Result")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


AHEAD = 4  # tasks that are under way at once, for each worker
CONNECT_SECONDS = 10
JOB = {"job_name": "wm", "time": 60, "cpus_per_task": 1, "mem": "2GB", "stderr_to_stdout": True}  # of a task
JOBS = Path(".scratch", "slurm")  # their tasks, results and logs


class Pool(NamedTuple):
    """What runs tasks, how many of them at once, and how many of them for each it is given."""

    executor: Executor
    workers: int
    ahead: int = AHEAD


def cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def pool(compute: Compute) -> Iterator[Pool]:
    """Where tasks are to run. Raises BadInput where no cluster answers."""
    kinds = {LOCAL: partial(processes, compute.workers), SLURM: partial(slurm, compute.workers)}
    with kinds.get(compute.scheduler, partial(cluster, compute.scheduler))() as found:
        yield found


@contextmanager
def cluster(address: str) -> Iterator[Pool]:
    """The workers of the Dask scheduler at `address`; what they have not begun on leaving is dropped.

    A task whose worker dies is done again by another one. Raises BadInput where there is no such cluster.
    """
    place = f"compute.scheduler: found {address}"
    try:
        from distributed import Client
    except ImportError:
        raise BadInput(f"{place}, which wants the extra dask: `uv sync --extra dask`") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error) or type(error).__name__
        raise BadInput(f"{place}, wanted the address of a Dask scheduler: {reason}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise BadInput(f"{place}, which has no workers. Run `wm worker {address}`.") from None
        threads: Any = client.nthreads()  # by worker
        yield Pool(client.get_executor(pure=False), sum(threads.values()))


@contextmanager
def slurm(workers: int) -> Iterator[Pool]:
    """As many jobs of SLURM at once, each of one task, which submitit hands in; those left are cancelled.

    SLURM does the tasks of a lost node again. Partition, account and the like are `sbatch`'s own variables
    (`SBATCH_PARTITION`, `SBATCH_ACCOUNT`). Raises BadInput where no job can be handed in.
    """
    place = f"compute.scheduler: found {SLURM}"
    try:
        import submitit
    except ImportError:
        raise BadInput(f"{place}, which wants the extra slurm: `uv sync --extra slurm`") from None
    if missing := [name for name in ("sbatch", "srun", "sacct") if not shutil.which(name)]:
        raise BadInput(f"{place}, wanted a machine of a SLURM cluster: no {missing[0]} is here")
    if not workers:
        raise BadInput(f"compute.workers: found 0, wanted the number of jobs that {SLURM} has at once")
    root = Path(os.environ.get("DVC_ROOT", ".")).absolute() / JOBS
    root.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(dir=root)
    hand_in = submitit.SlurmExecutor(folder)
    hand_in.update_parameters(**JOB)
    jobs = Jobs(hand_in)
    try:
        with one_thread():
            yield Pool(jobs, workers, ahead=1)
    finally:
        jobs.shutdown(cancel_futures=True)
    shutil.rmtree(folder)


class Jobs(Executor):
    """submitit's executor as one of the standard library."""

    def __init__(self, hand_in: Any) -> None:
        self.hand_in, self.jobs = hand_in, []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A task as a job."""
        self.jobs.append(job := Job(self.hand_in.submit(ended, partial(fn, *args, **kwargs))))
        return job

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancels the jobs whose results nobody asked for."""
        for job in self.jobs if cancel_futures else ():
            job.cancel()


def ended(function: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    """What the function came to, or what it raised."""
    try:
        return function(), None
    except Exception as error:
        return None, error


class Job(Future[Any]):
    """A job of SLURM."""

    def __init__(self, job: Any) -> None:
        super().__init__()
        self.job, self.asked_for = job, False

    def result(self, timeout: float | None = None) -> Any:
        """What the task came to; raises what it raised, and Halted where the job came to nothing."""
        from submitit.core.utils import UncompletedJobError

        self.asked_for = True
        try:
            result, error = self.job.result()
        except UncompletedJobError:
            log = self.job.paths.stdout
            raise Halted(f"job {self.job.job_id} of SLURM came to nothing: see {log}") from None
        if error is not None:
            raise error
        return result

    def cancel(self) -> bool:
        """Cancelled, unless its result was asked for."""
        if not self.asked_for:
            self.job.cancel(check=False)
        return not self.asked_for


class Elsewhere(Generic[Task, Result]):
    """A function as another machine is to call it: with the code that it has here."""

    def __init__(self, function: Callable[[Task], Result]) -> None:
        self.function, self.code = function, code_here()

    def __call__(self, task: Task) -> Result:
        if code_here() != self.code:
            raise Halted(f"worker in {Path.cwd()}: it runs other code than asks it, wanted the same")
        return self.function(task)


@cache
def code_here() -> str:
    """The checksum of the project's modules, as this process finds them."""
    return code.digest(code.project())


@contextmanager
def processes(workers: int) -> Iterator[Pool]:
    """`workers` fresh processes of one thread each (0: one for every core), gone on leaving: where that is
    by an exception, or because nobody reads on, at once, whatever they are at."""
    others = set(multiprocessing.active_children())
    workers = workers or cores()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_follow_parent)
    try:
        with one_thread():
            yield Pool(pool, workers)
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        results: Any = pool._result_queue
        results._writer.close()  # else the pool would wait for the rest of a result that was being sent
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes started within compute in one thread: they inherit it before they import anything."""
    saved = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in saved.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _deaf_children() -> Iterator[None]:
    """A process started within is deaf to Ctrl-C from its first moment on: it inherits the mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_parent() -> None:
    """Ends with the parent process, however it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ordered(pool: Pool, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """`function` of every task, in the tasks' order, `pool.ahead` under way at once for each worker."""
    remaining = iter(tasks)
    if not isinstance(pool.executor, ProcessPoolExecutor):
        function = Elsewhere(function)

    def submit(count: int) -> list[Future[Result]]:
        with _deaf_children():  # processes start when they are first needed
            return [pool.executor.submit(function, task) for task in islice(remaining, count)]

    waiting = deque(submit(pool.ahead * pool.workers))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(submit(1))
        yield result
