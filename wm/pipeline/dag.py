"""The stages of dvc.yaml, and which of them `dvc repro` would skip, without DVC and its lock."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from wm.errors import BadInput
from wm.packaged import DAG, check_checkout
from wm.params import file
from wm.pipeline import records
from wm.pipeline.records import Content, Entry

COMPARED_BYTES = 1 << 20  # larger files and folders are compared by size alone


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml; one of a `foreach` for each of its items."""

    command: str
    deps: list[str]
    params: list[str]
    outs: list[str]


def stages(params: Mapping[str, Any]) -> dict[str, Stage]:
    """The stages by their names in DVC, such as train_rnn@r0, in the order of dvc.yaml. Raises BadInput."""
    check_checkout()
    content = file.parsed(DAG.read_bytes(), str(DAG))
    try:
        return dict(_expanded(content["stages"], params))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{DAG}: found stages that DVC may read, but not this command ({error!r})") from None


def _expanded(entries: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, Stage]]:
    for name, entry in entries.items():
        if "foreach" not in entry:
            yield name, _stage(entry, {})
            continue
        items = entry["foreach"]
        if isinstance(items, str):  # ${rounds}
            items = _value(params, items[2:-1])
        for key, item in items.items() if isinstance(items, dict) else zip(items, items, strict=True):
            yield f"{name}@{key}", _stage(entry["do"], {"key": key, "item": item})


def _stage(entry: Mapping[str, Any], names: Mapping[str, Any]) -> Stage:
    def texts(*sections: str) -> list[str]:
        values = [value for section in sections for value in entry.get(section, [])]
        return [filled(next(iter(value)) if isinstance(value, dict) else value) for value in values]

    def filled(text: str) -> str:
        return re.sub(r"\$\{([\w.]+)\}", lambda match: str(_value(names, match[1])), text)

    return Stage(filled(entry["cmd"]), texts("deps"), texts("params"), texts("outs", "metrics", "plots"))


def _value(mapping: Mapping[str, Any], place: str) -> Any:
    """The value at a place such as collect.erratic; None if there is none."""
    value: Any = mapping
    for name in place.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def done(stages: Mapping[str, Stage], params: Mapping[str, Any]) -> set[str]:
    """The names of the stages whose command, parameters, inputs and outputs are those of dvc.lock.

    Inputs that other stages write are compared by their checksums in dvc.lock, large files by their size.
    """
    entries = records.read()
    writers = _writers(stages)
    before = {
        name: set[str]().union(*(writers.get(dep, ()) for dep in stage.deps))
        for name, stage in stages.items()
    }
    written: dict[str, str] = {}  # the checksums of the outputs of stages that are done
    found: set[str] = set()
    for name in TopologicalSorter(before).static_order():
        entry = entries.get(name)
        if entry and before[name] <= found and _is_done(stages[name], entry, params, written):
            found.add(name)
            written |= {path: out.md5 for path, out in entry.outs.items()}
    return found


def _writers(stages: Mapping[str, Stage]) -> dict[str, set[str]]:
    """The stages with an output at a path or below it, by that path."""
    found: dict[str, set[str]] = {}
    for name, stage in stages.items():
        for path in map(Path, stage.outs):
            for place in (path, *path.parents):
                found.setdefault(str(place), set()).add(name)
    return found


def _is_done(stage: Stage, entry: Entry, params: Mapping[str, Any], written: Mapping[str, str]) -> bool:
    """Whether a stage's entry in dvc.lock records what there is."""
    return (
        entry.command == stage.command
        and entry.deps.keys() == set(stage.deps)
        and entry.outs.keys() == set(stage.outs)
        and entry.params == {place: _value(params, place) for place in stage.params}
        and all(_matches(Path(path), out) for path, out in entry.outs.items())
        and all(
            written[path] == dep.md5 if path in written else _matches(Path(path), dep)
            for path, dep in entry.deps.items()
        )
    )


def _matches(path: Path, recorded: Content) -> bool:
    """Whether a file or folder is as dvc.lock records it: by checksum up to 1 MB, above by size."""
    if not path.exists():
        return False
    if path.is_dir():
        paths = sorted(one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
        size = sum(one.stat().st_size for one in paths)
        if (len(paths), size) != (recorded.files, recorded.size):
            return False
        return size > COMPARED_BYTES or _md5_of_folder(path, paths) == recorded.md5
    size = path.stat().st_size
    return size == recorded.size and (size > COMPARED_BYTES or _md5(path) == recorded.md5)


def _md5_of_folder(folder: Path, paths: list[Path]) -> str:
    """The checksum that DVC gives to a folder of these files."""
    parts = [{"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()} for path in paths]
    listed = sorted(parts, key=lambda part: part["relpath"])
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"


@cache
def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
