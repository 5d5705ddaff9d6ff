"""Progress of long work on standard error: a bar on a terminal, otherwise a line every 30 seconds."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

LINE_SECONDS = 30  # between two plain lines


def progress(items: Iterable[T], label: str, total: int, done: int = 0) -> Iterator[T]:
    """Yields the items and reports how many of `total` are done; `done` of them were done before."""
    report_resumed(label, done, total)
    if sys.stderr.isatty():
        yield from tqdm(items, label, total, initial=done)
        return
    start = reported = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - reported >= LINE_SECONDS or done + count == total:
            reported, left = now, (now - start) * (total - done - count) / count
            place = f"{label}: {done + count} of {total}"
            sys.stderr.write(f"{place}, {now - start:.0f} s elapsed, {left:.0f} s left\n")
            sys.stderr.flush()


def report_resumed(label: str, done: int, total: int) -> None:
    """Reports that interrupted work is resumed, if any of it was done."""
    if done:
        sys.stderr.write(f"{label}: resuming after {done} of {total}\n")
