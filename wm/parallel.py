"""Independent tasks on all cores, results in the order of the tasks."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


def cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """`workers` fresh processes of one thread each (0: one for every core), stopped on leaving."""
    saved = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # spawned processes inherit it before they import anything
    pool = ProcessPoolExecutor(
        workers or cores(), multiprocessing.get_context("spawn"), initializer=_follow_parent
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in saved.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _follow_parent() -> None:
    """Leaves Ctrl-C to the parent process, and ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ordered(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task], ahead: int
) -> Iterator[Result]:
    """`function` of every task, in the tasks' order, at most `ahead` of them under way at once."""
    remaining = iter(tasks)
    waiting: deque[Future[Result]] = deque(
        executor.submit(function, task) for task in islice(remaining, ahead)
    )
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(executor.submit(function, task) for task in islice(remaining, 1))
        yield result
