"""Errors whose message is one line for the user."""

import reprlib
from collections.abc import Iterable
from typing import Any

NO_CHECKOUT = "not found. Run this command from the root of a checkout of the pipeline."


class _OneLine(Exception):
    """An error whose message is one line of printable characters, even where it quotes others."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class BadInput(_OneLine):
    """The user's input cannot be used. The message: place, what was found, what was expected, remedy."""


class Halted(_OneLine):
    """Work cannot continue. The message: what happened, where, and what was saved."""


class Resumable(KeyboardInterrupt):
    """Ctrl-C or SIGTERM during work that the same command resumes."""


def shown(value: Any) -> str:
    """A value for a message: short, however long or deeply nested it is."""
    short = reprlib.Repr()
    short.maxstring, short.maxother, short.maxlong, short.maxlevel = 60, 60, 40, 2
    try:
        return short.repr(value)[:200]
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "a number of thousands of digits"


def listed(names: Iterable[Any]) -> str:
    """Names for a message, separated by commas."""
    return ", ".join(map(str, names))
