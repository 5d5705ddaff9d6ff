"""Progress of long work on standard error: a bar on a terminal, otherwise a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

FIRST_LINE_SECONDS, LINE_SECONDS = 5, 30  # until the first plain line, and between two later ones


class Progress:
    """Reports how many of `total` items are done, `done` of them before, and how many frames were driven."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.frames = 0
        self._bar: tqdm | None = None

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the items and counts them."""
        report_resumed(self.label, self.done, self.total)
        self._start = time.monotonic()
        self._timed = self.done, self._start
        self._next_line = self._start + FIRST_LINE_SECONDS
        if sys.stderr.isatty():
            self._bar = tqdm(desc=self.label, total=self.total, initial=self.done)
        try:
            for item in items:
                yield item
                self.done += 1
                self._begin_timing()
                if self._bar is not None:
                    self._bar.update()
                self._write_line(always=self.done == self.total)
        finally:
            if self._bar is not None:
                self._bar.close()

    def drove(self, frames: int) -> None:
        """Counts frames that were driven, also those of drives that are not over."""
        self.frames += frames
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self.frames:,} frames driven")
        self._write_line()

    def _begin_timing(self) -> None:
        """Times items from the end of the first one, which compiles; drives, many at once, from the start."""
        if self._timed[1] == self._start and not self.frames:
            self._timed = self.done, time.monotonic()

    def _write_line(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if self._bar is None and (now >= self._next_line or always):
            self._next_line = now + LINE_SECONDS
            sys.stderr.write(self._line(now))
            sys.stderr.flush()

    def _line(self, now: float) -> str:
        line = f"{self.label}: {self.done} of {self.total}"
        if self.frames:
            line += f", {self.frames:,} frames driven"
        line += f", {now - self._start:.0f} s elapsed"
        before, since = self._timed
        if self.done > before:
            left = (now - since) * (self.total - self.done) / (self.done - before)
            line += f", {left:.0f} s left"
        return f"{line}\n"


def progress(items: Iterable[T], label: str, total: int, done: int = 0) -> Iterator[T]:
    """Yields the items and reports how many of `total` are done; `done` of them were done before."""
    return Progress(label, total, done).over(items)


def report_resumed(label: str, done: int, total: int) -> None:
    """Reports that interrupted work is resumed, if any of it was done."""
    if done:
        sys.stderr.write(f"{label}: resuming after {done} of {total}\n")
