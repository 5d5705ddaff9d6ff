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
from typing import Any, TypeVar

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
    """`workers` fresh processes of one thread each (0: one for every core), gone on leaving: where that is
    by an exception, or because nobody reads on, at once, whatever they are at."""
    saved = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # spawned processes inherit it before they import anything
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers or cores(), multiprocessing.get_context("spawn"), initializer=_follow_parent
    )
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        results: Any = pool._result_queue
        results._writer.close()  # else the pool would wait for the rest of a result that was being sent
        raise
    finally:
        pool.shutdown(cancel_futures=True)
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


def ordered(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task], ahead: int
) -> Iterator[Result]:
    """`function` of every task, in the tasks' order, at most `ahead` of them under way at once."""
    remaining = iter(tasks)

    def submit(count: int) -> list[Future[Result]]:
        with _deaf_children():  # processes start when they are first needed
            return [executor.submit(function, task) for task in islice(remaining, count)]

    waiting = deque(submit(ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(submit(1))
        yield result
