"""dvc.lock without the records of stages and rounds that are gone.

DVC reads and writes all of dvc.lock at every stage, in pure Python: more than a second per 100 KB.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from wm.runtime import files

DAG, LOCK = Path("dvc.yaml"), Path("dvc.lock")
ENTRY = re.compile(r"^  (\S+):\n(?:    .*\n)*", re.MULTILINE)


def prune(params: Mapping[str, Any]) -> None:
    """Removes the records of stages that dvc.yaml and the content of params.yaml do not name."""
    if not (DAG.exists() and LOCK.exists()):
        return
    text = LOCK.read_text(encoding="utf-8")
    kept = pruned(text, set(stage_names(YAML(typ="safe").load(DAG)["stages"], params)))
    if kept != text:
        files.write_bytes(LOCK, kept.encode())


def pruned(text: str, names: set[str]) -> str:
    """The text of dvc.lock with the records of these stages alone."""
    return ENTRY.sub(lambda entry: entry[0] if entry[1] in names else "", text)


def stage_names(stages: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[str]:
    """The stages' names in DVC, such as train_rnn@r0. A `foreach` is a list or a section of params.yaml."""
    for name, stage in stages.items():
        items = stage.get("foreach", [""])
        items = params[items[2:-1]] if isinstance(items, str) else items
        yield from (f"{name}@{item}" if item else name for item in items)
