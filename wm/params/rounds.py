"""The section `rounds`: which round continues from which."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from wm.errors import shown, unknown
from wm.params.names import INIT
from wm.params.section import Section

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")  # used in commands and paths


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("expected a letter, followed by at most 39 letters, digits, - or _")
    return name


RoundName = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})
]


class RoundParams(Section):
    """A round: train the RNNs, evolve the controller in their dreams, drive, collect new drives."""

    prev: str
    """round whose data and models this one continues from; init for the first"""


def ancestry(name: str, prev: Mapping[str, str]) -> list[str]:
    """The rounds from the first one to `name`. Raises ValueError for a missing or circular `prev`."""
    line: list[str] = []
    while name != INIT:
        if name not in prev:
            place = f"rounds.{line[-1]}.prev" if line else "round"
            raise ValueError(unknown(place, name, [INIT, *prev]))
        if name in line:
            found = f"found {shown(prev[name])}, which itself follows {name}"
            expected = f"{INIT} or a round that does not follow {name}"
            raise ValueError(f"rounds.{name}.prev: {found}; expected {expected}")
        line.append(name)
        name = prev[name]
    return line[::-1]
