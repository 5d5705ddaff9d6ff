"""One run of the whole DAG with the smoke profile, for all tests that look at what it leaves behind."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import shared
from ruamel.yaml import YAML

from bench.chaos import checksums, clone, run

ACTION_REPEAT = 4  # twice that of the profile, so that a drive has half as many steps and pictures


class SmokeRun(NamedTuple):
    """A clone in which the first round has run, then the second one. The stages that ran each time, and the
    outputs' checksums at the end."""

    clone: Path
    first: set[str]
    second: set[str]
    checksums: dict[str, str]


def dvc(folder: Path, *words: str) -> str:
    """What a command of DVC prints."""
    return run(folder, sys.executable, "-m", "dvc", *words)


def started(output: str) -> set[str]:
    """The stages that the output of `dvc repro` or of its dry run names."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}


def smoke_clone(folder: Path, rounds: int = 2, **compute: int) -> Path:
    """A fresh clone with the smoke profile: its first rounds, and changes to its section `compute`."""
    clone(folder)
    round_trip, path = YAML(), folder / "params.yaml"
    params = round_trip.load(path.read_text(encoding="utf-8"))
    params["environment"]["action_repeat"] = ACTION_REPEAT
    params["compute"].update(compute)
    for name in list(params["rounds"])[rounds:]:
        del params["rounds"][name]
    with path.open("w", encoding="utf-8") as file:
        round_trip.dump(params, file)
    return folder


def smoke_run(factory: pytest.TempPathFactory) -> SmokeRun:
    """The run, in a fresh clone and from nothing. The first worker that asks for it makes it."""
    folder = shared.once(factory, "smoke", _run)
    first, second, sums = json.loads((folder / "run.json").read_text())
    return SmokeRun(folder / "wm", set(first), set(second), sums)


def _run(folder: Path) -> None:
    home = smoke_clone(folder / "wm", rounds=1)
    first = started(dvc(home, "repro"))
    second = started(dvc(home, "exp", "run", "-S", "+rounds.r1={prev: r0}"))
    (folder / "run.json").write_text(json.dumps([sorted(first), sorted(second), checksums(home)]))
