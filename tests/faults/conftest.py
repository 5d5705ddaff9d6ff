"""The small project, run once without faults."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `small` is imported by that name

import small

RUN = """
from stages.__main__ import run_stage
from wm.runtime.run import run
for words in {stages!r}:
    run(run_stage, *words)
"""


def stages(*lines):
    """A command that runs stages one after the other in one process."""
    return [sys.executable, "-c", RUN.format(stages=[line.split() for line in lines])]


def shared(tmp_path_factory) -> Path:
    """A folder that all workers of this run of pytest share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


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
    """A folder in which every stage of a round has run, in the first worker that asks for it."""
    home = shared(tmp_path_factory) / "small"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "compiled").exists():
            run_stages(home / "project")
            shutil.copytree(compiled, home / "compiled")  # last, since it tells that all has run
        else:
            shutil.copytree(home / "compiled", compiled, dirs_exist_ok=True)
    return home / "project"


def run_stages(folder: Path) -> None:
    """Runs every stage of a round."""
    shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
    folder.mkdir()
    small.params(folder)
    *first, evaluate, explore = [" ".join([name, *words]) for name, words in small.STAGES.items()]
    code, said = small.run(folder, stages("collect erratic", *first))
    assert code == 0, said
    for running in [small.start(folder, stages(line)) for line in (evaluate, explore)]:
        code, said = small.ended(running)
        assert code == 0, said
    assert small.leftovers(folder) == []
