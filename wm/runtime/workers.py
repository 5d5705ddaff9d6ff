"""Independent tasks on all cores or on a cluster, with results in the order of the tasks.

Workers are processes of this machine, an existing Dask cluster, or SLURM jobs. All of them read the project
from the same folder, and results do not depend on where or on how many workers the tasks run.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from wm.errors import Halted
from wm.runtime import code, dask, local, slurm, startup
from wm.runtime.local import Processes
from wm.runtime.tasks import Function, ListedTasks, Tasks

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_PER_WORKER = 4  # handed out before their results are read, so that no worker waits for this process


class Where(NamedTuple):
    """Where tasks are computed: the scheduler and the number of workers, as in `compute` of params.yaml."""

    scheduler: str
    count: int = 0


class Pool(NamedTuple):
    """Workers: processes of this machine, or of a cluster, where they load the project's code themselves."""

    processes: Processes | Executor
    workers: int


@contextmanager
def pool(scheduler: str, count: int = 0) -> Iterator[Pool]:
    """The workers that `compute.scheduler` and `compute.workers` describe. Raises BadInput."""
    if scheduler == "local":
        with local_pool(count) as here:
            yield here
    elif scheduler == "slurm":
        with slurm.jobs(count) as executor:
            yield Pool(executor, count)
    else:
        with dask.cluster(scheduler) as (executor, workers):
            yield Pool(executor, workers)


@contextmanager
def local_pool(count: int = 0) -> Iterator[Pool]:
    """Single-threaded processes on this machine (0: one per core), killed when the block ends."""
    count = count or startup.cores()
    with local.processes(count) as processes:
        yield Pool(processes, count)


def ordered(pool: Pool, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """Yields `function` of every task, in the order of the tasks, which are read as workers become free."""
    return together(pool, partial(_one_by_one, function), tasks, 1)


def _one_by_one(function: Callable[[Any], Any], tasks: Tasks) -> Iterator[tuple[int, Any]]:
    while (task := tasks.take(wait=True)) is not None:
        yield task[0], function(task[1])


def no_report(amount: int) -> None:
    """Reports nothing."""


def together(
    pool: Pool,
    function: Function,
    tasks: Iterable[Any],
    at_once: int,
    report: Callable[[int], None] = no_report,
) -> Iterator[Any]:
    """Yields the results of the tasks in their order, where `function` works on `at_once` tasks at once.

    `report` is called with what the workers report; those of a cluster report nothing.
    """
    if isinstance(pool.processes, Processes):
        ahead = TASKS_PER_WORKER * at_once * pool.workers
        yield from pool.processes.results(function, tasks, ahead, report)
        return
    remaining = iter(tasks)
    lists = iter(lambda: list(islice(remaining, at_once)), [])
    call = SameCode(partial(_of_list, function))
    waiting = deque(_submit(pool, call, lists, TASKS_PER_WORKER * pool.workers))
    while waiting:
        results = waiting.popleft().result()
        waiting += _submit(pool, call, lists, 1)
        yield from results


def _submit(pool, call, lists: Iterator[list[Any]], count: int) -> list[Future[list[Any]]]:
    return [pool.processes.submit(call, tasks) for tasks in islice(lists, count)]


def _of_list(function: Function, tasks: Sequence[Any]) -> list[Any]:
    results = dict(function(ListedTasks(tasks)))
    return [results[number] for number in range(len(tasks))]


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
