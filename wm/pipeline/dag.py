"""The stages of dvc.yaml, and which of them `dvc repro` would skip, without DVC and its lock."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from wm.errors import BadInput
from wm.params.file import PARAMS

DAG, LOCK = Path("dvc.yaml"), Path("dvc.lock")
READ_AGAIN_SECONDS = 0.1  # DVC writes dvc.lock in place, so that a reader may see half of it
COMPARED_BYTES = 1 << 20  # larger files are compared by size alone
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ruamel.yaml takes seconds for dvc.lock


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml; one of a `foreach` for each of its items."""

    command: str
    deps: list[str]
    params: list[str]
    outs: list[str]


def stages(params: Mapping[str, Any]) -> dict[str, Stage]:
    """The stages by their names in DVC, such as train_rnn@r0, in the order of dvc.yaml. Raises BadInput."""
    content = _mapping(DAG)
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
    entries = (_mapping(LOCK) if LOCK.exists() else {}).get("stages") or {}
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
            written |= {out["path"]: out["md5"] for out in entry["outs"]}
    return found


def _writers(stages: Mapping[str, Stage]) -> dict[str, set[str]]:
    """The stages with an output at a path or below it, by that path."""
    found: dict[str, set[str]] = {}
    for name, stage in stages.items():
        for path in map(Path, stage.outs):
            for place in (path, *path.parents):
                found.setdefault(str(place), set()).add(name)
    return found


def _is_done(
    stage: Stage, entry: Mapping[str, Any], params: Mapping[str, Any], written: Mapping[str, str]
) -> bool:
    """Whether a stage's entry in dvc.lock records what there is."""
    recorded = entry.get("params", {}).get(str(PARAMS), {})
    deps, outs = ({part["path"]: part for part in entry.get(kind, [])} for kind in ("deps", "outs"))
    return (
        entry["cmd"] == stage.command
        and deps.keys() == set(stage.deps)
        and outs.keys() == set(stage.outs)
        and _same(recorded, {place: _value(params, place) for place in stage.params})
        and all(map(_matches, outs.values()))
        and all(
            written[path] == dep["md5"] if path in written else _matches(dep) for path, dep in deps.items()
        )
    )


def _matches(recorded: dict[str, Any]) -> bool:
    """Whether a file or folder is as dvc.lock records it: small files by checksum, all else by size."""
    path = Path(recorded["path"])
    if path.is_dir():
        paths = (file for file in path.rglob("*") if "__pycache__" not in file.parts)  # as .dvcignore says
        sizes = [file.stat().st_size for file in paths if file.is_file()]
        return (len(sizes), sum(sizes)) == (recorded.get("nfiles"), recorded["size"])
    if not path.exists() or path.stat().st_size != recorded["size"]:
        return False
    return recorded["size"] > COMPARED_BYTES or _md5(path) == recorded["md5"]


@cache
def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _same(recorded: Any, value: Any) -> bool:
    """Whether parameters are equal; numbers may be written differently, as 0.00001 and 1e-05."""
    if isinstance(recorded, dict) and isinstance(value, dict):
        return recorded.keys() == value.keys() and all(_same(recorded[name], value[name]) for name in value)
    if isinstance(recorded, list) and isinstance(value, list):
        return len(recorded) == len(value) and all(map(_same, recorded, value))
    if isinstance(value, float) and isinstance(recorded, str):
        return recorded == repr(value)
    return recorded == value


def _mapping(path: Path) -> dict[str, Any]:
    """The content of a YAML file that DVC may be writing. Raises BadInput."""
    for wait in (READ_AGAIN_SECONDS, 0):
        try:
            content = yaml.load(path.read_bytes(), Loader=LOADER)
            if isinstance(content, dict):
                return content
        except FileNotFoundError:
            raise BadInput(f"{path}: not found. Run this command from the project's root.") from None
        except (yaml.YAMLError, ValueError):
            pass
        time.sleep(wait)
    raise BadInput(f"{path}: not valid YAML, expected a file of DVC. Run `git checkout {path}`.")
