"""Worker processes on this machine."""

# Our own, since an abandoned pool must end at once and no worker may outlive a killed parent:
# - concurrent.futures: before Python 3.14 a pool cannot be killed without private attributes. If a killed
#   worker was sending a result, the pool waits for the rest for ever, since all workers share one pipe.
# - joblib (loky): closing its generator starts new workers and leaves them behind, and a busy worker
#   outlives a killed parent.
# Here every worker has a pipe of its own, which ends with the worker.

import atexit
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from queue import SimpleQueue
from typing import Any

from wm.errors import Halted
from wm.runtime import interrupt
from wm.runtime.startup import environment, one_thread
from wm.runtime.tasks import Function

SPAWN = multiprocessing.get_context("spawn")

# What a worker sends. It waits for an answer only after ASK.
ASK, RESULT, PROGRESS, END = "ask", "result", "progress", "end"


class Handout:
    """Numbered tasks for workers, in order: at most `ahead` of the first one whose result is not yet read."""

    def __init__(self, tasks: Iterable[Any], ahead: int) -> None:
        self._tasks, self._left = enumerate(tasks), ahead
        self._closed = False
        self._changed = threading.Condition()

    def take(self, *, wait: bool) -> tuple[Any, bool]:
        """The next task, or None; and whether there may be more. Without `wait` also None for the time that
        results are read more slowly than they come."""
        with self._changed:
            while not (self._left or self._closed) and wait:
                self._changed.wait()
            if self._closed or not self._left:
                return None, not self._closed
            self._left -= 1
            task = next(self._tasks, None)
            return task, task is not None

    def result_read(self) -> None:
        """Allows for one more task."""
        with self._changed:
            self._left += 1
            self._changed.notify()

    def close(self) -> None:
        """Hands out no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Worker:
    """A fresh single-threaded process."""

    def __init__(self) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # the process has the only other end, so the pipe ends with it

    def work(self, function: Function, tasks: Handout, messages: "SimpleQueue[tuple[str, Any]]") -> None:
        """Has the process run `function` on the tasks that it asks for.

        The messages are its results and its progress, at last END with None or what it raised: Halted if
        the process ended.
        """
        try:
            self._pipe.send(function)
            kind = ""
            while kind != END:
                kind, value = self._pipe.recv()
                if kind == ASK:
                    self._pipe.send(tasks.take(wait=value))
                else:
                    messages.put((kind, value))
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            reason = f"a worker process ended (exit code {code}), perhaps for lack of memory"
            messages.put((END, Halted(reason)))
        except Exception as error:  # of the tasks
            messages.put((END, error))

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.join()


class AskedTasks:
    """Tasks that a worker process gets from its parent, one by one."""

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe, self.left = pipe, True

    def take(self, *, wait: bool) -> tuple[int, Any] | None:
        if not self.left:
            return None
        self._pipe.send((ASK, wait))
        task, self.left = self._pipe.recv()
        return task

    def report(self, amount: int) -> None:
        self._pipe.send((PROGRESS, amount))


def _serve(pipe: connection.Connection) -> None:
    """Works until the parent process ends."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            function = pipe.recv()
        except EOFError:
            return
        try:
            for result in function(AskedTasks(pipe)):
                pipe.send((RESULT, result))
            pipe.send((END, None))
        except Exception as error:
            error.add_note(f"In the worker process: {traceback.format_exc()}")
            pipe.send((END, error))


def _follow_parent() -> None:
    """Ends this process as soon as its parent ends, even in the middle of a task."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


class Processes:
    """Worker processes; a thread serves each of them while they work."""

    def __init__(self, count: int) -> None:
        self._workers: list[Worker] = []
        self._threads = ThreadPoolExecutor(count)
        self._tasks = Handout([], 0)
        atexit.register(self.kill)  # before multiprocessing waits for its processes
        SPAWN.Lock()  # starts multiprocessing's resource tracker, whose start would unblock signals below
        try:
            with environment(one_thread()), _signals_blocked():
                self._workers += [Worker() for _ in range(count)]
        except BaseException:
            self.kill()
            raise

    def results(
        self, function: Function, tasks: Iterable[Any], ahead: int, report: Callable[[int], None]
    ) -> Iterator[Any]:
        """Yields the results of `function`, which all workers run, in the order of the tasks.

        At most `ahead` tasks are handed out whose results have not been read.
        """
        self._tasks = Handout(tasks, ahead)
        messages: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        for worker in self._workers:
            self._threads.submit(worker.work, function, self._tasks, messages)
        early: dict[int, Any] = {}  # results of later tasks
        due, working = 0, len(self._workers)
        while working:
            kind, value = messages.get()
            if kind == PROGRESS:
                report(value)
            elif kind == RESULT:
                early.update([value])
            elif value is not None:
                raise value
            else:
                working -= 1
            while due in early:
                yield early.pop(due)
                self._tasks.result_read()
                due += 1

    def kill(self) -> None:
        """Ends all workers at once, whatever they are doing."""
        atexit.unregister(self.kill)
        self._tasks.close()
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)


@contextmanager
def processes(count: int) -> Iterator[Processes]:
    """Single-threaded worker processes, which are killed when the block ends."""
    pool = Processes(count)
    try:
        yield pool
    finally:
        pool.kill()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started within ignore Ctrl-C and SIGTERM from their start, since they inherit the signal
    mask. Their parent, which gets the signals too, ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupt.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
