"""What a benchmark sets up in its process, so that it computes as a stage does."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from wm.runtime import startup

Result = TypeVar("Result")


def set_up() -> None:
    """Keeps freed memory and compiled programs, and computes as for all results. JAX may be imported already,
    but must not have computed."""
    startup.keep_memory()
    startup.cache_compiled()
    startup.ignore_jax_variables()
    if "jax" in sys.modules:  # JAX reads the environment only when it is imported
        _set_up_jax()


def _set_up_jax() -> None:
    import jax

    settings: dict[str, Any] = dict(startup.RESULTS_DEPEND_ON)
    if folder := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        seconds = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
        settings["jax_compilation_cache_dir"] = folder
        settings["jax_persistent_cache_min_compile_time_secs"] = seconds
    for name, value in settings.items():
        jax.config.update(name, value)


def convolving(function: Callable[..., Result], *arguments: object) -> Result:
    """What the function returns in a process that convolves as the stages that train V and encode do."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _set_up_convolutions) as pool:
        return pool.submit(function, *arguments).result()


def _set_up_convolutions() -> None:
    startup.convolve_without_ynnpack()
    set_up()
