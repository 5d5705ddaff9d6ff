"""The journal of an evolution: the fitness of every candidate, from which an interrupted search resumes."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float


class Journal:
    """The fitness of each generation's candidates, one JSON line each.

    A damaged line and all lines after it are dropped, with a warning on standard error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: list[dict[str, Any]] = []
        self._ends = [0]  # byte offsets at which the lines end
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for number, line in enumerate(lines, 1):
            entry = _entry(line)
            if entry is None:
                sys.stderr.write(f"warning: {path}, line {number}: damaged; resuming from the line before\n")
                break
            self._append(entry, len(line))

    @property
    def generations(self) -> int:
        """Number of generations in the journal."""
        return len(self._entries)

    def fitness(
        self, generation: int, candidates: Float[np.ndarray, "population parameter"]
    ) -> Float[np.ndarray, " population"] | None:
        """The fitness recorded for these candidates; None if there is none."""
        if generation >= len(self._entries):
            return None
        entry = self._entries[generation]
        if entry["candidates"] != _fingerprint(candidates):
            return None
        return np.array([float.fromhex(value) for value in entry["fitness"]])

    def write(
        self,
        generation: int,
        candidates: Float[np.ndarray, "population parameter"],
        fitness: Float[np.ndarray, " population"],
    ) -> None:
        """Writes the line of a generation, replacing that line and all lines after it."""
        written = [float(value).hex() for value in fitness]
        entry = {"candidates": _fingerprint(candidates), "fitness": written, "sha256": _checksum(written)}
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
    """The parsed line; None if it is damaged."""
    try:
        entry = json.loads(line)
        intact = line.endswith(b"\n") and entry["sha256"] == _checksum(entry["fitness"])
        intact = intact and isinstance(entry["candidates"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry if intact else None


def _fingerprint(candidates: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(candidates).tobytes()).hexdigest()


def _checksum(fitness: list[str]) -> str:
    return hashlib.sha256(json.dumps(fitness).encode()).hexdigest()
