"""Mistakes on the command line in this project's words: place, what was found, what was expected, remedy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from wm.errors import did_you_mean, listed, shown, unknown

FORMER = {"--drawn": "--sampled"}  # options by their former names
KINDS = {bool: "no value", int: "a whole number", float: "a number", Path: "a path"}


def message(error: CycloptsError, commands: Iterable[str]) -> str:
    """One line about a mistake in the words of one of `commands`."""
    match error:
        case UnknownCommandError():
            return unknown_command((error.unused_tokens or [""])[0], commands)
        case UnknownOptionError():
            names = [name for one in error.argument_collection for name in one.names if name.startswith("-")]
            found = error.token.keyword or error.token.value
            if FORMER.get(found) in names:
                return f"{place(error)}: option: found '{found}', expected its new name {FORMER[found]}"
            return unknown(f"{place(error)}: option", found, names, help_of(error))
        case UnusedCliTokensError():
            found = listed(map(shown, error.unused_tokens or []))
            return f"{place(error)}: found {found}, expected no further argument. {help_of(error)}"
        case RepeatArgumentError():
            return f"{error.token.keyword}: found more than once, expected once. Remove all but one."
        case MissingArgumentError(argument=argument) if argument:
            return f"{argument.name}: found nothing, expected {expected(argument.hint)}. {help_of(error)}"
        case CoercionError(argument=argument, token=token) if argument and token:
            return unfit(error, argument.name, argument.hint, token.value)
    return f"{place(error)}: {' '.join(str(error).split())} {help_of(error)}"


def unknown_command(found: str, commands: Iterable[str]) -> str:
    """A word that is no command."""
    return unknown("command", found, commands, "Run `wm --help`.")


def unfit(error: CoercionError, name: str, hint: Any, value: str) -> str:
    """A value that the argument `name` cannot have; its converter may have said why."""
    if error.msg:
        return f"{name}: {error.msg}"
    remedy = did_you_mean(value, get_args(hint)) if get_origin(hint) is Literal else ""
    return f"{name}: found {shown(value)}, expected {expected(hint)}. {remedy or help_of(error)}"


def expected(hint: Any) -> str:
    """What an argument of this type takes, in words."""
    if get_origin(hint) is Literal:
        return f"one of {listed(get_args(hint))}"
    return next((KINDS[kind] for kind in get_args(hint) or (hint,) if kind in KINDS), "a value")


def place(error: CycloptsError) -> str:
    """The command in which the mistake is."""
    return " ".join(error.command_chain or ["wm"])


def help_of(error: CycloptsError) -> str:
    """The remedy where no name is near."""
    return f"Run `{' '.join(['wm', *(error.command_chain or [])])} --help`."
