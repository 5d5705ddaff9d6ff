"""What all tests share: checked shapes, quick compilation, kept programs, long files first."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# All processes share compiled Python and the programs that JAX compiles. It looks programs up by their
# folder's path too, so all workers have one folder: they inherit the variables, which JAX reads once.
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not WORKER:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="wm-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    # Compiling takes half the time; tests/test_gradients.py tests what users' processes compute.
    os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {os.environ.get('XLA_FLAGS', '')}".strip()
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell without job control starts background processes with Ctrl-C ignored; their children inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hook = install_import_hook("wm", "beartype.beartype")

# The files that take longest, first, so that no core waits for one of them at the end. test_same_bytes.py
# comes when the first run of the DAG has compiled its programs.
LONGEST = [
    "test_pipeline.py",
    "test_hosts.py",
    "test_dask.py",
    "test_devices.py",
    "test_gradients.py",
    "test_recipes.py",
    "test_real_track.py",
    "test_envs.py",
    "test_same_bytes.py",
    "test_playing.py",
    "test_examples.py",
    "test_slurm.py",
    "test_rnn.py",
    "test_web.py",
    "test_watch.py",
    "test_workers.py",
]
assert all(any(Path(__file__).parent.rglob(name)) for name in LONGEST)


def pytest_unconfigure():
    if not WORKER:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def xla_flags(monkeypatch):
    """A stage in the tests' process sets flags for its test alone, since JAX looks programs up by them."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
