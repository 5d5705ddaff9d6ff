"""How far long work has come: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS = 30  # between two plain lines


def progress(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """The items, with what is done and the time left told on standard error."""
    if sys.stderr.isatty():
        yield from tqdm(items, label, total)
        return
    began = told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= SECONDS or done == total:
            told, left = now, (now - began) * (total - done) / done
            sys.stderr.write(f"{label}: {done} of {total}, {now - began:.0f} s gone, {left:.0f} s left\n")
            sys.stderr.flush()
