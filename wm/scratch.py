"""Unfinished work, outside the outputs: what lets a stage that was killed go on where it was.

A stage's scratch folder is named by a fingerprint of all that its outputs follow from: its arguments, its
parameters, its inputs and the code. It lies in `.scratch` of the project (of the one that queued it, for an
experiment that DVC runs elsewhere), and is gone once the outputs are there.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wm import files

FOLDER = ".scratch"


@contextmanager
def folder(stage: str, params: Any, inputs: Sequence[Path]) -> Iterator[Path]:
    """A folder for the unfinished work of `stage`, the same one after a restart; removed on success.

    `inputs` are files, or folders with a manifest.json. While another process holds the folder, the same
    work begun twice, one gets a folder of its own.
    """
    root = Path(os.environ.get("DVC_ROOT", ".")) / FOLDER
    name = f"{stage.replace(' ', '-')}-{fingerprint(stage, params, inputs)[:16]}"
    for i in range(1, 1000):
        path = root / (name if i == 1 else f"{name}-{i}")
        path.mkdir(parents=True, exist_ok=True)
        with (path / "lock").open("w") as lock:
            if not _held(lock, path):
                continue
            yield path
            files.remove(path)
            return
    raise RuntimeError(f"{root / name}: held by a thousand processes")  # cannot happen


def fingerprint(stage: str, params: Any, inputs: Sequence[Path]) -> str:
    """SHA-256 over all that the stage's outputs follow from, in hexadecimal."""
    seen = [stage, params, [[str(path), _content(path)] for path in inputs], _code()]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode()).hexdigest()


def _held(lock: Any, path: Path) -> bool:
    """Whether this process now holds the folder, and it is still the one that was opened."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return os.fstat(lock.fileno()).st_ino == (path / "lock").stat().st_ino
    except FileNotFoundError:  # its holder finished in between
        return False


def _content(path: Path) -> str:
    """The checksum of a file, or of a folder's manifest, which has those of the rest."""
    inside = path / "manifest.json"
    return files.sha256(inside if inside.exists() else path) if path.exists() else ""


def _code() -> list[list[str]]:
    """Name and checksum of every module of the project that is loaded."""
    loaded = {
        name: module.__file__
        for name, module in sys.modules.items()
        if name.split(".")[0] in ("wm", "stages", "__main__") and getattr(module, "__file__", None)
    }
    return [[name, files.sha256(Path(path))] for name, path in sorted(loaded.items()) if path]
