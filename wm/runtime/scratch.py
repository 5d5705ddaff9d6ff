"""Unfinished work, outside the outputs: what lets a stage that was killed go on where it was.

A stage's scratch folder is named by a fingerprint of all that its outputs follow from: its arguments, its
parameters, its inputs and the code. It lies in `.scratch` of the project (of the one that queued it, for an
experiment that DVC runs elsewhere), and is gone once the outputs are there.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wm.runtime import code, files

FOLDER = ".scratch"
DEAD_SECONDS = 14 * 24 * 3600.0  # after which what an interrupted stage left is not come back for


@contextmanager
def folder(stage: str, params: Any, inputs: Sequence[Path]) -> Iterator[Path]:
    """A folder for the unfinished work of `stage`, the same one after a restart; removed on success.

    `inputs` are files, or folders with a manifest.json. While another process holds the folder, the same
    work begun twice, one gets a folder of its own. On success the stage's folders of other fingerprints
    go, too, where no process has held them for two weeks.
    """
    root, prefix = Path(os.environ.get("DVC_ROOT", ".")) / FOLDER, stage.replace(" ", "-")
    name = f"{prefix}-{fingerprint(stage, params, inputs)[:16]}"
    for i in range(1, 1000):
        path = root / (name if i == 1 else f"{name}-{i}")
        path.mkdir(parents=True, exist_ok=True)
        if (lock := files.hold(path)) is None:
            continue
        with lock:
            yield path
            files.remove(path)
        _remove_dead(root, prefix)
        return
    raise RuntimeError(f"{root / name}: held by a thousand processes")  # cannot happen


def _remove_dead(root: Path, prefix: str) -> None:
    """Removes the folders of a stage that nobody has held for long: whose lock was last opened then."""
    for path in root.glob(f"{prefix}-{'[0-9a-f]' * 16}*"):
        with suppress(FileNotFoundError):  # another process does the same
            idle = time.time() - (path / "lock").stat().st_mtime
            if idle > DEAD_SECONDS and (lock := files.hold(path)):
                files.remove(path)
                lock.close()


def fingerprint(stage: str, params: Any, inputs: Sequence[Path]) -> str:
    """SHA-256 over all that the stage's outputs follow from, in hexadecimal."""
    seen = [stage, params, [[str(path), _content(path)] for path in inputs], _code(stage)]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode()).hexdigest()


def _content(path: Path) -> str:
    """The checksum of a file, or of a folder's manifest, which has those of the rest."""
    inside = path / "manifest.json"
    return files.sha256(inside if inside.exists() else path) if path.exists() else ""


def _code(stage: str) -> str:
    """The checksum of the code that the stage's outputs follow from: of the whole project, if no module of
    stages/ has the name."""
    name = stage.split()[0]
    known = code.path_of(f"stages.{name}") is not None
    return code.digest(code.stage_modules(name) if known else code.project())
