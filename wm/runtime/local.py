"""Worker processes on this machine."""

# Our own, since an abandoned pool must end at once and no worker may outlive a killed parent:
# - concurrent.futures: before Python 3.14 a pool cannot be killed without private attributes. If a killed
#   worker was sending a result, the pool waits for the rest for ever, since all workers share one pipe.
# - joblib (loky): closing its generator starts new workers and leaves them behind, and a busy worker
#   outlives a killed parent.
# Here every worker has a pipe of its own, which ends with the worker.

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from queue import SimpleQueue
from typing import Any

from wm.errors import Halted
from wm.runtime.startup import ONE_THREAD, environment

SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """A fresh single-threaded process that runs one task at a time."""

    def __init__(self) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # the process has the only other end, so the pipe ends with it

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """The function's result; raises what it raises, and Halted if the process ends."""
        try:
            self._pipe.send((function, arguments))
            result, error = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            raise Halted(f"a worker process ended (exit code {code}), perhaps for lack of memory") from None
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.join()


def _serve(pipe: connection.Connection) -> None:
    """Runs tasks until the parent process ends."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((function(*arguments), None))
        except Exception as error:
            error.add_note(f"In the worker process: {traceback.format_exc()}")
            pipe.send((None, error))


def _follow_parent() -> None:
    """Ends this process as soon as its parent ends, even in the middle of a task."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


class Processes(Executor):
    """Worker processes behind the interface of the standard library: a thread waits for each busy worker."""

    def __init__(self, count: int) -> None:
        self._workers: list[Worker] = []
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count)
        SPAWN.Lock()  # starts multiprocessing's resource tracker, whose start would unblock Ctrl-C below
        try:
            with environment(ONE_THREAD), _ctrl_c_blocked():
                self._workers += [Worker() for _ in range(count)]
        except BaseException:
            self.kill()
            raise
        for worker in self._workers:
            self._idle.put(worker)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The function's result, from the next idle worker."""
        return self._threads.submit(self._run, fn, args)

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        worker = self._idle.get()
        try:
            return worker.run(function, arguments)
        finally:
            self._idle.put(worker)

    def kill(self) -> None:
        """Ends all workers at once, whatever they are doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown()


@contextmanager
def processes(count: int) -> Iterator[Processes]:
    """Single-threaded worker processes, which are killed when the block ends."""
    pool = Processes(count)
    try:
        yield pool
    finally:
        pool.kill()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Processes started within ignore Ctrl-C from their start, since they inherit the signal mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
