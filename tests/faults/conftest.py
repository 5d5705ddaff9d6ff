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


def stages(*lines):
    """A command that runs stages one after the other in one process."""
    return [sys.executable, "-c", RUN.format(stages=[line.split() for line in lines])]


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory) -> Path:
    """A worker's processes share compiled programs, and compile with little optimisation."""
    folder = tmp_path_factory.mktemp("compiled")
    small.VARIABLES.update(
        JAX_COMPILATION_CACHE_DIR=str(folder),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        XLA_FLAGS="--xla_backend_optimization_level=0",
    )
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory, compiled) -> Path:
    """A folder in which every stage of a round has run. The first worker that asks for it runs them."""

    def make(folder: Path) -> None:
        (folder / "project").mkdir()
        run_stages(folder / "project")
        shutil.copytree(compiled, folder / "compiled")

    folder = shared.once(tmp_path_factory, "small", make)
    shutil.copytree(folder / "compiled", compiled, dirs_exist_ok=True)
    return folder / "project"


def run_stages(folder: Path) -> None:
    """Runs every stage of a round."""
    small.params(folder)
    files.write_json(folder / "metrics/ranks.json", {"chosen": "r0"})  # as `rank` would
    *first, evaluate, explore = [" ".join([name, *words]) for name, words in small.STAGES.items()]
    code, said = small.run(folder, stages("collect erratic", *first))
    assert code == 0, said
    for running in [small.start(folder, stages(line)) for line in (evaluate, explore)]:
        code, said = small.ended(running)
        assert code == 0, said
    assert small.leftovers(folder) == []
