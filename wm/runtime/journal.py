"""What evolution was told, a line a generation: enough to bring the search to where it was."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float


class Journal:
    """Returns by generation in a file. Lines from the first damaged one on, of which standard error tells,
    are dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: list[dict[str, Any]] = []
        self._ends = [0]  # of the lines, in bytes
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for number, line in enumerate(lines, 1):
            entry = _entry(line)
            if entry is None:
                sys.stderr.write(f"warning: {path}, line {number}: damaged; going on before it\n")
                break
            self._append(entry, len(line))

    @property
    def generations(self) -> int:
        """How many are told of."""
        return len(self._entries)

    def returns(
        self, generation: int, candidates: Float[np.ndarray, "population parameter"]
    ) -> Float[np.ndarray, " population"] | None:
        """What these candidates were found to be worth; None where they were not asked for yet."""
        if generation >= len(self._entries):
            return None
        entry = self._entries[generation]
        if entry["candidates"] != _fingerprint(candidates):
            return None
        return np.array([float.fromhex(one) for one in entry["returns"]])

    def write(
        self,
        generation: int,
        candidates: Float[np.ndarray, "population parameter"],
        returns: Float[np.ndarray, " population"],
    ) -> None:
        """Adds the line of a generation, in place of any that stood there and after it."""
        written = [float(one).hex() for one in returns]
        entry = {"candidates": _fingerprint(candidates), "returns": written, "sha256": _checksum(written)}
        line = json.dumps(entry).encode() + b"\n"
        del self._entries[generation:], self._ends[generation + 1 :]
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.truncate(self._ends[-1])
            file.seek(self._ends[-1])
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._append(entry, len(line))

    def _append(self, entry: dict[str, Any], length: int) -> None:
        self._entries.append(entry)
        self._ends.append(self._ends[-1] + length)


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is damaged."""
    try:
        entry = json.loads(line)
        intact = line.endswith(b"\n") and entry["sha256"] == _checksum(entry["returns"])
        intact = intact and isinstance(entry["candidates"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry if intact else None


def _fingerprint(candidates: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(candidates).tobytes()).hexdigest()


def _checksum(returns: list[str]) -> str:
    return hashlib.sha256(json.dumps(returns).encode()).hexdigest()
