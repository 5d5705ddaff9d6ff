"""Numbered tasks as a worker sees them: it takes one after another, several at once if it likes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Tasks(Protocol):
    """Tasks that a worker takes, each with its number."""

    left: bool
    """False once the last task has been taken."""

    def take(self, *, wait: bool) -> tuple[int, Any] | None:
        """The next task; None if none is left or, without `wait`, none can be had now.

        A worker with unfinished tasks must not wait: all others may be waiting for their results.
        """
        ...

    def report(self, amount: int) -> None:
        """Reports progress within the tasks, in any unit."""
        ...


Function = Callable[[Tasks], Iterator[tuple[int, Any]]]
"""What a worker runs: yields the number and the result of each task that it takes, in any order."""


class ListedTasks:
    """Tasks from a list, with progress that nobody reads."""

    def __init__(self, tasks: Sequence[Any]) -> None:
        self._tasks, self.left = enumerate(tasks), True

    def take(self, *, wait: bool) -> tuple[int, Any] | None:
        task = next(self._tasks, None)
        self.left = task is not None
        return task

    def report(self, amount: int) -> None: ...
