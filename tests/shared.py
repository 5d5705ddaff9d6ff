"""Work that one worker of pytest-xdist does for all."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` filled, in the first worker that asked for it; the others wait.

    `make` gets an empty folder. If it fails, the next worker that asks tries again.
    """
    base = factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "made").exists():
            shutil.rmtree(home / name, ignore_errors=True)
            (home / name).mkdir()
            make(home / name)
            (home / "made").touch()
    return home / name
