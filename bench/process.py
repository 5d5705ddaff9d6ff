"""What a benchmark sets up in its process, so that it computes as a stage does."""

import os
import sys

from wm.runtime import startup


def set_up() -> None:
    """Keeps freed memory and compiled programs. JAX may be imported already, but must not have computed."""
    startup.keep_memory()
    startup.cache_compiled()
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if folder and "jax" in sys.modules:  # JAX reads the environment only when it is imported
        import jax

        seconds = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


def set_up_convolutions() -> None:
    """`set_up` for V: the flags of the stages whose time goes to its convolutions."""
    startup.convolve_without_ynnpack()
    set_up()
