"""Independent tasks on all cores or on a cluster, with results in the order of the tasks.

Workers are processes of this machine, an existing Dask cluster, or SLURM jobs. All of them read the project
from the same folder, and results do not depend on where or on how many workers the tasks run.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from wm.errors import Halted
from wm.runtime import code, dask, local, slurm, startup

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_PER_WORKER = 4  # submitted at once, so that no worker waits for this process


class Where(NamedTuple):
    """Where tasks are computed: the scheduler and the number of workers, as in `compute` of params.yaml."""

    scheduler: str
    count: int = 0


class Pool(NamedTuple):
    """Workers, and whether they load the project's code from another machine."""

    executor: Executor
    workers: int
    remote: bool


@contextmanager
def pool(scheduler: str, count: int = 0) -> Iterator[Pool]:
    """The workers that `compute.scheduler` and `compute.workers` describe. Raises BadInput."""
    if scheduler == "local":
        with local_pool(count) as here:
            yield here
    elif scheduler == "slurm":
        with slurm.jobs(count) as executor:
            yield Pool(executor, count, remote=True)
    else:
        with dask.cluster(scheduler) as (executor, workers):
            yield Pool(executor, workers, remote=True)


@contextmanager
def local_pool(count: int = 0) -> Iterator[Pool]:
    """Single-threaded processes on this machine (0: one per core), killed when the block ends."""
    count = count or startup.cores()
    with local.processes(count) as executor:
        yield Pool(executor, count, remote=False)


def ordered(pool: Pool, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """Yields `function` of every task, in the order of the tasks, which are read as workers become free."""
    remaining = iter(tasks)
    call = SameCode(function) if pool.remote else function

    def submit(count: int) -> list[Future[Result]]:
        return [pool.executor.submit(call, task) for task in islice(remaining, count)]

    waiting = deque(submit(TASKS_PER_WORKER * pool.workers))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(submit(1))
        yield result


class SameCode(Generic[Task, Result]):
    """A function that raises Halted on a machine whose code differs from that of the sender."""

    def __init__(self, function: Callable[[Task], Result]) -> None:
        self.function, self.checksum = function, _checksum()

    def __call__(self, task: Task) -> Result:
        if _checksum() != self.checksum:
            remedy = "Start the worker again in a folder with the same code."
            raise Halted(f"worker in {Path.cwd()}: found other code than the sender's. {remedy}")
        return self.function(task)


@cache
def _checksum() -> str:
    return code.digest(code.project())
