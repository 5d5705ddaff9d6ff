"""params.yaml as frozen, strict models: the only way in which a number reaches a stage."""

import errno
import inspect
import os
import re
import reprlib
import signal
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

PARAMS = Path("params.yaml")
PARAMS_BYTES = 1 << 20  # at most
FIRST_ROUND = "init"
ROUND_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")  # it goes into commands and into paths
FRAMES_PER_EPISODE = 1000  # of CarRacing-v3, and of the dream
MOST = 2**31 - 1  # of any whole number
WHERE = ("compute", "hosts", "gpu")  # sections from which nothing that comes out follows, but for rounding


class _OneLine(Exception):
    """An error whose message is one line of printable characters, whatever was put into it."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class BadInput(_OneLine):
    """What a user gave cannot be used; the message is one line: place, found, wanted."""


class Halted(_OneLine):
    """Work cannot go on; the message is one line: what happened, where, and what is kept."""


def different(numbers: list[float]) -> list[float]:
    """The same numbers, none of which may be there twice. Raises ValueError."""
    if len(set(numbers)) < len(numbers):
        raise ValueError("wanted different ones")
    return numbers


class Section(BaseModel):
    """One section of params.yaml: no unknown names, no defaults, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _no_huge_number(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > MOST:
            raise ValueError(f"wanted a whole number of {MOST} at most")
        return value


class Environment(Section):
    """How an agent meets CarRacing-v3: frames an action lasts, and frames before its first one."""

    action_repeat: int = Field(ge=1, le=FRAMES_PER_EPISODE)
    warm_up_frames: int = Field(ge=0, lt=FRAMES_PER_EPISODE)

    @property
    def most_steps(self) -> int:
        """Steps of the longest possible drive."""
        return -(-(FRAMES_PER_EPISODE - self.warm_up_frames) // self.action_repeat)


class GPU(Section):
    """How XLA computes on a GPU; on a CPU it makes no difference."""

    deterministic: bool  # the same bytes again on the same GPU

    def tell_xla(self) -> None:
        """Before JAX computes anything, for XLA reads its flags but once."""
        if self.deterministic:
            given = os.environ.get("XLA_FLAGS", "")
            os.environ["XLA_FLAGS"] = f"{given} --xla_gpu_deterministic_ops=true".strip()


S = TypeVar("S", bound=BaseModel)


def read(path: Path = PARAMS) -> dict[str, Any]:
    """All of params.yaml (YAML 1.2, duplicate names refused). Raises BadInput."""
    try:
        with path.open("rb") as file:
            content = file.read(PARAMS_BYTES + 1)
    except FileNotFoundError:
        raise BadInput(f"{path}: not found. Run from the project's root.") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, wanted a file of parameters") from None
    if len(content) > PARAMS_BYTES:
        raise BadInput(f"{path}: more than {PARAMS_BYTES} bytes, wanted a file of parameters")
    return parsed(content, str(path))


def parsed(content: bytes, place: str) -> dict[str, Any]:
    """What YAML says, which must be names with values. Raises BadInput."""
    try:
        found = YAML(typ="safe").load(content.decode())
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        problem = str(error.problem or error.context)[:200]
        raise BadInput(f"{place}, line {line}: {problem}") from None
    except RecursionError:
        raise BadInput(f"{place}: nested too deeply, wanted sections of parameters") from None
    except (YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise BadInput(f"{place}: no YAML that can be read ({str(error)[:200]})") from None
    if found is None:
        raise BadInput(f"{place}: it is empty, wanted sections of parameters")
    if not isinstance(found, dict):
        raise BadInput(f"{place}: found {shown(found)}, wanted sections of parameters")
    return found


def shown(value: Any) -> str:
    """A value as a message shows it: short, however long or deep it is."""
    short = reprlib.Repr()
    short.maxstring, short.maxother, short.maxlong, short.maxlevel = 60, 60, 40, 2
    try:
        return short.repr(value)[:200]
    except ValueError:  # Python writes no whole numbers of more than 4,300 digits
        return "a number of thousands of digits"


def known(names: Iterable[Any]) -> str:
    """Names as a message lists them."""
    return ", ".join(map(str, names))


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
        raise _refusal(kind, error, place) from None


def validated_json(kind: type[S], text: str, place: str) -> S:
    """What JSON says, as a `kind`. Raises BadInput of one line that names the first wrong value."""
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _refusal(kind, error, place) from None


def _refusal(kind: type[BaseModel], error: ValidationError, place: str) -> BadInput:
    errors = error.errors(include_url=False)
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]  # a name misspelt is missing, too
    first = [*unknown, *errors][0]
    inside = ".".join(str(part)[:60] for part in first["loc"] if part != "[key]")
    where = f"{place}{'.' if ': ' in place else ': '}{inside}" if inside else place
    if first["type"] == "missing":
        return BadInput(f"{where}: is missing")
    if first["type"] == "extra_forbidden":
        return BadInput(f"{where}: unknown, wanted one of {known(_fields(kind, first['loc'][:-1]))}")
    if first["type"] == "value_error":
        return BadInput(
            f"{where}: found {shown(first['input'])}, {first['msg'].removeprefix('Value error, ')}"
        )
    return BadInput(f"{where}: {first['msg']}, found {shown(first['input'])}")


def _fields(kind: Any, path: tuple[int | str, ...]) -> list[str]:
    """The names that `kind`, or what lies along `path` in it, has."""
    for part in path:
        kind = get_args(kind)[-1] if get_args(kind) else kind.model_fields[str(part)].annotation
    return list(getattr(kind, "model_fields", []))


def mapping(params: dict[str, Any], name: str) -> dict[str, Any]:
    """The section `name` as names to values. Raises BadInput where it is none, or empty."""
    found = params.get(name)
    if not isinstance(found, dict) or not found:
        raise BadInput(f"{PARAMS}: {name}: found {shown(found)}, wanted names with values")
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
            some = known([FIRST_ROUND, *rounds])
            raise BadInput(f"{PARAMS}: rounds: prev {fault}: found {shown(name)}, wanted one of {some}")
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


def run_stage(main: Any, *arguments: str) -> None:
    """As `run`, for a stage and its command line, once all of params.yaml is known to be right: a mistake
    in the section of a stage that comes hours later is told of now."""
    run(_stage, main, arguments)


def _stage(main: Any, arguments: tuple[str, ...]) -> None:
    params, loaded = read(), set(sys.modules)
    import_module("wm.validation").validate(params).gpu.tell_xla()
    _check_arguments(main, arguments, params)
    _forget(sys.modules.keys() - loaded)
    main(*arguments)


def _forget(modules: Iterable[str]) -> None:
    """Unloads those of the project: no output, and no unfinished work, follows from other stages' code."""
    for name in modules:
        package, _, own_name = name.rpartition(".")
        if package in ("wm", "stages"):
            del sys.modules[name]
            vars(sys.modules[package]).pop(own_name, None)


def _check_arguments(main: Any, arguments: tuple[str, ...], params: dict[str, Any]) -> None:
    """Refuses a command line that `main` does not take, or that names what params.yaml does not."""
    try:
        given = inspect.signature(main).bind(*arguments).arguments
    except TypeError:
        wanted = known(inspect.signature(main).parameters) or "none"
        raise BadInput(f"arguments: found {shown(list(arguments))}, wanted {wanted}") from None
    rounds, name = params["rounds"], given.get("round_name", FIRST_ROUND)
    if "round_name" in given and name not in rounds:
        raise BadInput(f"round: found {shown(name)}, wanted one of {known(rounds)}")
    if "round_name" in given and "prev" in inspect.signature(main).parameters:
        found, wanted = given.get("prev"), rounds[name]["prev"]
        if found != wanted:
            raise BadInput(f"prev of {name}: found {shown(found)}, wanted {wanted}")
