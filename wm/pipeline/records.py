"""Reading dvc.lock in the form in which DVC writes it. A YAML parser takes seconds for its 6,000 lines."""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from wm.errors import BadInput
from wm.params import file

LOCK = Path("dvc.lock")
HEADER = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"^  (\S.*):\n((?:    .*\n)*)", re.MULTILINE)
SECTION = re.compile(r"^    (\w+):(.*\n(?:(?:      |    -).*\n)*)", re.MULTILINE)
CONTENT = re.compile(
    r"^    - path: (.+)\n      hash: md5\n      md5: (\S+)\n      size: (\d+)\n(?:      nfiles: (\d+)\n)?",
    re.MULTILINE,
)


class Content(NamedTuple):
    """A file, or a folder with so many files: its checksum and its size in bytes."""

    md5: str
    size: int
    files: int | None


class Entry(NamedTuple):
    """What dvc.lock records of a stage's last run; contents by their paths."""

    command: str
    params: dict[str, Any]
    deps: dict[str, Content]
    outs: dict[str, Content]


def read() -> dict[str, Entry]:
    """The entries by the stages' names; none if there is no dvc.lock. Raises BadInput.

    DVC writes the file in place, so its last stages may be missing while it does.
    """
    try:
        text = LOCK.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        text = HEADER[:1]
    if not (text.startswith(HEADER) or HEADER.startswith(text)):
        raise BadInput(f"{LOCK}: expected a file that DVC has written. Run `git checkout -- {LOCK}`.")
    return {name: _entry(body) for name, body in STAGE.findall(text)}


def _entry(text: str) -> Entry:
    sections = dict(SECTION.findall(text))
    deps, outs = (_contents(sections.get(name, "")) for name in ("deps", "outs"))
    params = _value(sections.get("params", "")) or {}
    return Entry(_text(sections.get("cmd", "")), params.get(str(file.PARAMS), {}), deps, outs)


def _contents(text: str) -> dict[str, Content]:
    found = CONTENT.findall(text)
    return {_text(path): Content(md5, int(size), int(n) if n else None) for path, md5, size, n in found}


def _text(value: str) -> str:
    """A scalar, which DVC quotes only if it must, and breaks over lines."""
    plain = " ".join(value.split())
    return str(_value(value)) if plain[:1] in ("'", '"', "|", ">") else plain


@cache
def _value(text: str) -> Any:
    """The value of a YAML text; rounds share their parameters, so each is parsed once. Raises BadInput."""
    return file.parsed(f"value:{text}".encode(), str(LOCK))["value"]
