"""Profiles: params.yaml for another purpose. Each file states only what differs from the default profile."""

from collections.abc import Iterator
from typing import Any

from wm.errors import BadInput, unknown
from wm.packaged import packaged
from wm.params import file
from wm.params.check import check
from wm.params.schema import rendered

PROFILES = packaged("profiles")


def change(name: str) -> tuple[str, list[str]]:
    """The text of params.yaml for a profile, and a line for each parameter that changes, or about a file that
    is missing or cannot be read, which the text replaces. Raises BadInput."""
    after = content(name)
    check(after)
    if not file.PARAMS.exists():
        return rendered(after), [f"{file.PARAMS}: now {name}"]
    try:
        return rendered(after), list(differences(file.read(), after))
    except BadInput as error:
        return rendered(after), [f"{error}; now {name}"]


def content(name: str) -> dict[str, Any]:
    """All parameters of a profile. Raises BadInput."""
    names = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    if name not in names:
        raise BadInput(unknown("profile", name, names))
    default = file.read(PROFILES / "default.yaml")
    return merged(default, file.read(PROFILES / f"{name}.yaml"))


def merged(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`params` with `changes` applied name by name; `rounds` is replaced as a whole."""
    rounds = {"rounds": changes["rounds"]} if "rounds" in changes else {}
    return {**_merged(params, changes), **rounds}


def _merged(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    new = dict(params)
    for name, value in changes.items():
        old = params.get(name)
        new[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return new


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """A line `name: old -> new` for each parameter that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            where = f"{place}.{name}" if place else name
            yield from differences(before.get(name), after.get(name), where)
    elif before != after:
        old, new = ("nothing" if value is None else value for value in (before, after))
        yield f"{place}: {old} -> {new}"
