"""params.yaml as frozen, strict models: the only way in which a number reaches a stage."""

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

PARAMS = Path("params.yaml")
FIRST_ROUND = "init"


class BadInput(Exception):
    """What a user gave cannot be used; the message is one line: place, found, wanted."""


class Halted(Exception):
    """Work cannot go on; the message is one line: what happened, where, and what is kept."""


class Section(BaseModel):
    """One section of params.yaml: no unknown names, no defaults, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Environment(Section):
    """How an agent meets CarRacing-v3: frames an action lasts, and frames before its first one."""

    action_repeat: PositiveInt
    warm_up_frames: NonNegativeInt


S = TypeVar("S", bound=Section)


def read(path: Path = PARAMS) -> dict[str, Any]:
    """All of params.yaml (YAML 1.2, duplicate names refused). Raises BadInput."""
    try:
        content = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: not found. Run from the project's root.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise BadInput(f"{path}, line {line}: {error.problem}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: found {content!r}, wanted sections of parameters")
    return content


def section(kind: type[S], *names: str, path: Path = PARAMS) -> S:
    """The section at `names` (`"collect", "erratic"`), validated. Raises BadInput."""
    found: Any = read(path)
    for depth, name in enumerate(names, 1):
        if not isinstance(found, dict) or name not in found:
            raise BadInput(f"{path}: {'.'.join(names[:depth])} is missing")
        found = found[name]
    return validated(kind, found, f"{path}: {'.'.join(names)}")


def validated(kind: type[S], found: Any, place: str) -> S:
    """`found` as a `kind`. Raises BadInput of one line that names the first wrong value."""
    try:
        return kind.model_validate(found, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([place, *map(str, first["loc"])])
        given = "" if first["type"] == "missing" else f", found {first['input']!r}"
        raise BadInput(f"{where}: {first['msg']}{given}") from None


def mapping(params: dict[str, Any], name: str) -> dict[str, Any]:
    """The section `name` as names to values. Raises BadInput where it is none, or empty."""
    found = params.get(name)
    if not isinstance(found, dict) or not found:
        raise BadInput(f"{PARAMS}: {name}: found {found!r}, wanted names with values")
    return found


class Round(Section):
    """A round of dreaming and driving; `prev` is the round whose data and models it starts from."""

    prev: str


def ancestry(name: str, rounds: dict[str, Any]) -> list[str]:
    """The rounds from the first one to `name`. Raises BadInput for a missing or circular `prev`."""
    line: list[str] = []
    while name != FIRST_ROUND:
        if name not in rounds or name in line:
            fault = "is circular" if name in line else "names no round"
            known = ", ".join([FIRST_ROUND, *rounds])
            raise BadInput(f"{PARAMS}: rounds: prev {fault}: found {name!r}, wanted one of {known}")
        line.append(name)
        name = validated(Round, rounds[name], f"{PARAMS}: rounds.{name}").prev
    return line[::-1]


def rounds_until(name: str) -> list[str]:
    """The rounds of params.yaml from the first one to `name`; none where it is no round but the start."""
    return ancestry(name, mapping(read(), "rounds"))


FULL_OR_SHUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def run(main: Any, *arguments: Any) -> None:
    """Runs a stage's or a command's `main`; bad input ends it with one line and exit code 2,
    work that cannot go on with 1, Ctrl-C with 130."""
    code = _ended(main, *arguments)  # what ran is let go of, its processes with it, before the exit
    if code:
        sys.exit(code)


def _ended(main: Any, *arguments: Any) -> int:
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(*arguments)
    except BadInput as error:
        return _say(f"error: {error}", 2)
    except Halted as error:
        return _say(f"error: {error}", 1)
    except OSError as error:
        if error.errno not in FULL_OR_SHUT:
            raise
        return _say(f"error: {error.filename or 'writing'}: {os.strerror(error.errno)}", 1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end is near, and not to be cut short
        return _say("interrupted: the same command goes on from here", 130)
    return 0


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
