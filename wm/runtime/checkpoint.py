"""Checkpoints of a training run: the newest, and the one before in case the newest is damaged."""

import hashlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import equinox as eqx

from wm.runtime import files

SECONDS = 20.0  # between two checkpoints


class Checkpoints:
    """The last two checkpoints of one training run, in a folder of their own."""

    def __init__(self, folder: Path, seconds: float = SECONDS) -> None:
        self.folder, self.seconds = folder, seconds
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.monotonic() - self._saved >= self.seconds

    def save(self, notes: dict[str, Any], state: Any) -> None:
        """Writes a state (a pytree) and notes (JSON values), and drops the second newest checkpoint."""
        payload = io.BytesIO()
        eqx.tree_serialise_leaves(payload, state)
        header = {"notes": notes, "sha256": _checksum(notes, payload.getvalue())}
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._newest.exists():
            self._newest.replace(self._before)
        with files.replacing(self._newest) as unfinished:
            unfinished.write_bytes(json.dumps(header).encode() + b"\n" + payload.getvalue())
        self._saved = time.monotonic()

    def last(self, like: Any) -> tuple[dict[str, Any], Any] | None:
        """Notes and state of the newest intact checkpoint; None if there is none.

        `like` is a state of the same structure and shapes. A damaged checkpoint is skipped with a warning.
        """
        for path in (self._newest, self._before):
            if not path.exists():
                continue
            try:
                return _read(path, like)
            except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
                sys.stderr.write(f"warning: {path}: damaged ({error}); resuming from the checkpoint before\n")
        return None

    def __str__(self) -> str:
        paths = [path for path in (self._newest, self._before) if path.exists()]
        return f"The last good checkpoint is {paths[0]}" if paths else "There is no checkpoint yet"

    @property
    def _newest(self) -> Path:
        return self.folder / "newest"

    @property
    def _before(self) -> Path:
        return self.folder / "before"


def _read(path: Path, like: Any) -> tuple[dict[str, Any], Any]:
    first, _, payload = path.read_bytes().partition(b"\n")
    header = json.loads(first)
    if header["sha256"] != _checksum(header["notes"], payload):
        raise ValueError("checksum mismatch")
    return header["notes"], eqx.tree_deserialise_leaves(io.BytesIO(payload), like)


def _checksum(notes: dict[str, Any], payload: bytes) -> str:
    return hashlib.sha256(json.dumps(notes).encode() + b"\n" + payload).hexdigest()
