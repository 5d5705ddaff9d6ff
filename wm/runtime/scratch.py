"""Scratch folders: unfinished work, kept outside the outputs, from which a killed stage resumes.

A scratch folder is named by a fingerprint of everything that determines the stage's outputs: arguments,
parameters, inputs and code. It lies in the project's `.scratch` (for an experiment that DVC runs in a
temporary folder, that of the project that queued it) and is removed when the stage succeeds.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wm.errors import Resumable
from wm.runtime import code, files

FOLDER = ".scratch"
ABANDONED_SECONDS = 14 * 24 * 3600.0  # since a process last held the folder


@contextmanager
def folder(stage: str, params: Any, inputs: Sequence[Path], *, resumes: bool = True) -> Iterator[Path]:
    """A folder for the unfinished work of `stage`, the same one after a restart; removed on success.

    `inputs` are files, or folders with a manifest.json. If another process runs the same stage with the same
    inputs and holds the folder, this one gets a folder of its own. On success, folders of the same stage
    with other fingerprints are removed too if no process has held them for two weeks. Raises Resumable for
    a KeyboardInterrupt of work that `resumes` from what the folder holds.
    """
    root, prefix = Path(os.environ.get("DVC_ROOT", ".")) / FOLDER, stage.replace(" ", "-")
    name = f"{prefix}-{fingerprint(stage, params, inputs)[:16]}"
    for i in range(1, 1000):
        path = root / (name if i == 1 else f"{name}-{i}")
        path.mkdir(parents=True, exist_ok=True)
        if (lock := files.hold(path)) is None:
            continue
        with lock:
            try:
                yield path
            except KeyboardInterrupt as interrupt:
                if not resumes:
                    raise
                raise Resumable(*interrupt.args) from interrupt
            files.remove(path)
        _remove_abandoned(root, prefix)
        return
    raise RuntimeError(f"{root / name}: held by a thousand processes")  # cannot happen


def _remove_abandoned(root: Path, prefix: str) -> None:
    """Removes a stage's folders whose lock was last opened more than two weeks ago."""
    for path in root.glob(f"{prefix}-{'[0-9a-f]' * 16}*"):
        with suppress(FileNotFoundError):  # another process removes it too
            idle = time.time() - (path / "lock").stat().st_mtime
            if idle > ABANDONED_SECONDS and (lock := files.hold(path)):
                files.remove(path)
                lock.close()


def fingerprint(stage: str, params: Any, inputs: Sequence[Path]) -> str:
    """SHA-256 of everything that determines the stage's outputs, in hexadecimal."""
    parts = [stage, params, [[str(path), _content(path)] for path in inputs], _code(stage)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _content(path: Path) -> str:
    """The checksum of a file, or of a folder's manifest, which holds those of the folder's files."""
    manifest = path / "manifest.json"
    return files.sha256(manifest if manifest.exists() else path) if path.exists() else ""


def _code(stage: str) -> str:
    """The checksum of the code that the stage imports; of all code if stages/ has no module of that name."""
    name = stage.split()[0]
    known = code.path_of(f"stages.{name}") is not None
    return code.digest(code.stage_modules(name) if known else code.project())
