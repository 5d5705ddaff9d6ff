"""How far long work has come: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS = 30  # between two plain lines


def progress(items: Iterable[T], label: str, total: int, done: int = 0) -> Iterator[T]:
    """The items, with what is done and the time left told on standard error; `done` of the total were
    done before."""
    going_on(label, done, total)
    if sys.stderr.isatty():
        yield from tqdm(items, label, total, initial=done)
        return
    began = told = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= SECONDS or done + count == total:
            told, left = now, (now - began) * (total - done - count) / count
            place = f"{label}: {done + count} of {total}"
            sys.stderr.write(f"{place}, {now - began:.0f} s gone, {left:.0f} s left\n")
            sys.stderr.flush()


def going_on(label: str, done: int, total: int) -> None:
    """Tells that interrupted work is taken up again, if any was done."""
    if done:
        sys.stderr.write(f"{label}: going on after {done} of {total}\n")
