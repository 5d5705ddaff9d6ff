"""What all tests share: shapes checked in every call, compiled code, and an order that keeps all cores busy."""

import os
import shutil
import sys
import tempfile

from jaxtyping import install_import_hook

hook = install_import_hook("wm", "beartype.beartype")

# The files that take longest, first, so that no core waits for one of them at the end.
LONGEST = ["test_pipeline.py"]


def pytest_configure(config):
    """Processes that tests start load compiled Python, and all of a core share the programs that JAX compiles."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    compiled = tempfile.mkdtemp(prefix="wm-compiled-")
    config.add_cleanup(lambda: shutil.rmtree(compiled, ignore_errors=True))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    assert "jax" not in sys.modules  # it reads the variables when it is imported


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
