"""Progress of long work on standard error: a bar on a terminal, otherwise a line now and then."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from wm.spec import FRAMES_PER_EPISODE

T = TypeVar("T")

FIRST_LINE_SECONDS, LINE_SECONDS = 5, 30  # until the first plain line, and between two later ones
BEAT_SECONDS = 1.0  # between two looks at what is shown
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"

_refresh: set[Callable[[], object]] = set()  # what draws the bars on the terminal again; empty without bars


class Progress:
    """Reports how many of `total` items are done, `done` of them before, and how many frames were driven."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.frames = 0  # driven, also in drives that are not over
        self._in_drives = self._in_own = self._drives = 0
        self._bar: tqdm | None = None

    def over(self, items: Iterable[T], frames: Callable[[T], int] | None = None) -> Iterator[T]:
        """Yields the items and counts them; `frames` is the number of frames of an item that is a drive."""
        report_resumed(self.label, self.done, self.total)
        self._start = time.monotonic()
        self._timed = self.share, self._start
        self._next_line = self._start + FIRST_LINE_SECONDS
        if _shows_bars():
            self._bar = tqdm(desc=self.label, total=self.total, initial=self.done, bar_format=BAR)
            _refresh.add(self._bar.refresh)
        try:
            for item in items:
                yield item
                self._count(frames(item) if frames else 0)
        finally:
            if self._bar is not None:
                _refresh.discard(self._bar.refresh)
                self._bar.close()

    def drove(self, frames: int) -> None:
        """Counts frames that were driven, also those of drives that are not over."""
        first, self.frames = not self.frames, self.frames + frames
        if first:
            self._timed = self.share, time.monotonic()
        self._show()

    @property
    def share(self) -> float:
        """The items done, with the fractions of drives under way by the mean length of finished ones."""
        each = self._in_drives / self._drives if self._drives else FRAMES_PER_EPISODE
        return min(float(self.total), self.done + max(0, self.frames - self._in_own) / each)

    def _count(self, frames: int) -> None:
        """Counts an item; times items from the end of the first one, which compiles."""
        self.done += 1
        if frames:
            self._drives += 1
            self._in_drives += frames
            self._in_own += frames if self.frames else 0  # not those that an earlier run drove
        if self._timed[1] == self._start and not self.frames:
            self._timed = self.share, time.monotonic()
        self._show(always=self.done == self.total)

    def _show(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(self._parts(now)), refresh=False)
            self._bar.update(self.share - self._bar.n)
            if always or self.frames:
                self._bar.refresh()
        elif now >= self._next_line or always:
            self._next_line = now + LINE_SECONDS
            done, *rest = self._parts(now)
            sys.stderr.write(
                f"{self.label}: {', '.join([done, f'{now - self._start:.0f} s elapsed', *rest])}\n"
            )
            sys.stderr.flush()

    def _parts(self, now: float) -> Iterator[str]:
        """How much is done, and how long the rest takes."""
        driven = f", {self.frames:,} frames driven" if self.frames else ""
        yield f"{self.done} of {self.total}{driven}"
        before, since = self._timed
        if self.share > before:
            left = (now - since) * (self.total - self.share) / (self.share - before)
            yield f"{left:.0f} s left"


def progress(items: Iterable[T], label: str, total: int, done: int = 0) -> Iterator[T]:
    """Yields the items and reports how many of `total` are done; `done` of them were done before."""
    return Progress(label, total, done).over(items)


def report_resumed(label: str, done: int, total: int) -> None:
    """Reports that interrupted work is resumed, if any of it was done."""
    if done:
        sys.stderr.write(f"{label}: resuming after {done} of {total}\n")


@contextmanager
def heartbeat(label: str) -> Iterator[None]:
    """On a terminal, draws bars again every second and, while there is none, writes now and then that work
    goes on: programs are compiled, files are read."""
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(label, stop), daemon=True)
    if sys.stderr.isatty():
        thread.start()
    try:
        yield
    finally:
        stop.set()


@contextmanager
def shown_elsewhere() -> Iterator[None]:
    """Within, the user sees the work, e.g. in a window, so that `heartbeat` writes nothing."""
    _refresh.add(_nothing)
    try:
        yield
    finally:
        _refresh.discard(_nothing)


def _nothing() -> None: ...


def _shows_bars() -> bool:
    """Whether standard error is a terminal that has a size: where it has none, as in some containers, bars
    would be empty."""
    try:
        return min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except OSError:
        return sys.stderr.isatty()


def _beat(label: str, stop: threading.Event) -> None:
    start = time.monotonic()
    next_line = start + FIRST_LINE_SECONDS
    while not stop.wait(BEAT_SECONDS):
        now = time.monotonic()
        if shown := list(_refresh):
            next_line = now + FIRST_LINE_SECONDS
            for refresh in shown:
                refresh()
        elif now >= next_line:
            next_line = now + LINE_SECONDS
            sys.stderr.write(f"{label}: working, {now - start:.0f} s elapsed\n")
            sys.stderr.flush()
