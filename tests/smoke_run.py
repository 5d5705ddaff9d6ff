"""One run of the whole DAG with the smoke profile, for all tests that look at what it leaves behind."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import shared

from bench.chaos import checksums, clone, run


class SmokeRun(NamedTuple):
    """A clone after `dvc repro`, the stages that ran, and the outputs' checksums at their end."""

    clone: Path
    ran: set[str]
    checksums: dict[str, str]


def dvc(folder: Path, *words: str) -> str:
    """What a command of DVC prints."""
    return run(folder, sys.executable, "-m", "dvc", *words)


def started(output: str) -> set[str]:
    """The stages that the output of `dvc repro` or of its dry run names."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}


def smoke_run(factory: pytest.TempPathFactory) -> SmokeRun:
    """The run, in a fresh clone and from nothing. The first worker that asks for it makes it."""
    folder = shared.once(factory, "smoke", _run)
    ran, sums = (json.loads((folder / f"{name}.json").read_text()) for name in ("ran", "checksums"))
    return SmokeRun(folder / "wm", set(ran), sums)


def _run(folder: Path) -> None:
    first = clone(folder / "wm")
    ran = started(dvc(first, "repro"))
    (folder / "ran.json").write_text(json.dumps(sorted(ran)))
    (folder / "checksums.json").write_text(json.dumps(checksums(first)))
