"""Errors whose message is one line for the user."""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


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


def unknown(place: str, found: str, names: Iterable[str], otherwise: str = "") -> str:
    """A word that is none of `names`; the remedy is the name most like it, or else `otherwise`."""
    names = list(names)
    what = f"one of {listed(names)}" if names else "none"
    remedy = did_you_mean(found, names) or otherwise
    return f"{place}: found {shown(found)}, expected {what}" + (f". {remedy}" if remedy else "")


def did_you_mean(found: str, names: Iterable[str]) -> str:
    """A question about the name most like `found`, or nothing."""
    name = closest(found, names)
    return f"Did you mean {name}?" if name else ""


def closest(found: str, names: Iterable[str]) -> str:
    """The name most like `found`, or nothing; neither case nor hyphens in front count."""
    by_word = {name.lstrip("-").lower(): name for name in names}
    close = get_close_matches(found.lstrip("-").lower(), by_word, n=1)
    return by_word[close[0]] if close else ""


def listed(names: Iterable[Any]) -> str:
    """Names for a message, separated by commas."""
    return ", ".join(map(str, names))
