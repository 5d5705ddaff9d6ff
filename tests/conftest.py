"""What all tests share: shapes are checked in every call, compiled code is kept, long files run first."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from jaxtyping import install_import_hook

# The processes of a core share compiled Python and the programs that JAX compiles. JAX reads the variables
# when it is imported.
COMPILED = tempfile.mkdtemp(prefix="wm-compiled-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hook = install_import_hook("wm", "beartype.beartype")

# The files that take longest, first, so that no core waits for one of them at the end. test_same_bytes.py
# comes when the first run of the DAG has compiled its programs.
LONGEST = [
    "test_pipeline.py",
    "test_hosts.py",
    "test_dask.py",
    "test_same_bytes.py",
    "test_real_track.py",
    "test_envs.py",
    "test_playing.py",
    "test_recipes.py",
    "test_rnn.py",
]
assert all(any(Path(__file__).parent.rglob(name)) for name in LONGEST)


def pytest_unconfigure():
    shutil.rmtree(COMPILED, ignore_errors=True)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
