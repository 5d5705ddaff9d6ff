"""The small project, run once without faults."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `small` is imported by that name

import shared
import small

from wm.runtime import files

RUN = """
from stages.__main__ import run_stage
from wm.runtime.run import run
for words in {stages!r}:
    run(run_stage, *words)
"""
DRIVING = ("evaluate", "explore")


def stages(*lines):
    """A command that runs stages one after the other in one process."""
    return [sys.executable, "-c", RUN.format(stages=[line.split() for line in lines])]


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A folder in which a round's stages up to `evolve` have run, in the first worker that asks for it."""
    return shared.once(tmp_path_factory, "trained", train)


@pytest.fixture(scope="session")
def project(tmp_path_factory, trained) -> Path:
    """A folder in which every stage of a round has run."""

    def make(folder: Path) -> None:
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        drive(folder)

    return shared.once(tmp_path_factory, "driven", make)


def train(folder: Path) -> None:
    """Runs the stages of a round up to `evolve`. XLA's flags are those of a process, and the stages of V have
    flags of their own."""
    small.params(folder)
    files.write_json(folder / "metrics/ranks.json", {"chosen": "r0"})  # as `rank` would
    lines = [" ".join([name, *words]) for name, words in small.STAGES.items() if name not in DRIVING]
    of_v = 1 + lines.index("encode")
    for part in (["collect erratic", *lines[:of_v]], lines[of_v:]):
        code, said = small.run(folder, stages(*part))
        assert code == 0, said
    assert small.leftovers(folder) == []


def drive(folder: Path) -> None:
    """Runs the stages in which the agent drives, side by side."""
    for running in [small.start(folder, stages(" ".join([name, *small.STAGES[name]]))) for name in DRIVING]:
        code, said = small.ended(running)
        assert code == 0, said
    assert small.leftovers(folder) == []
