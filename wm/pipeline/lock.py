"""dvc.lock without the records of stages and rounds that are gone.

DVC reads and writes all of dvc.lock at every stage, in pure Python: more than a second per 100 KB.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from wm.pipeline import dag
from wm.pipeline.dag import DAG
from wm.pipeline.records import LOCK
from wm.runtime import files

ENTRY = re.compile(r"^  (\S+):\n(?:    .*\n)*", re.MULTILINE)


def prune(params: Mapping[str, Any]) -> None:
    """Removes the records of stages that dvc.yaml and the content of params.yaml do not name."""
    if not (DAG.exists() and LOCK.exists()):
        return
    text = LOCK.read_text(encoding="utf-8")
    kept = pruned(text, dag.stages(params))
    if kept != text:
        files.write_bytes(LOCK, kept.encode())


def pruned(text: str, names: Collection[str]) -> str:
    """The text of dvc.lock with the records of these stages alone."""
    return ENTRY.sub(lambda entry: entry[0] if entry[1] in names else "", text)
