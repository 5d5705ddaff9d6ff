"""What a process sets up and checks around JAX: caches, allocator, threads, XLA's flags, settings."""

import ctypes
import hashlib
import logging
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from wm.errors import BadInput
from wm.runtime import nvidia

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD, ARENA_MAX = -4, -1, -2, -8  # of glibc's malloc.h
ONE_THREAD = {  # environment of a worker process
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
PROCESSORS = Path("/proc/cpuinfo")
NO_YNNPACK = "--xla_cpu_experimental_ynn_fusion_type="  # an empty list of kinds of operations

RESULTS_DEPEND_ON = {  # settings of JAX, with the values that all results are computed with: its defaults
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_default_matmul_precision": None,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_softmax_custom_jvp": False,
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_high_dynamic_range_gumbel": False,
}
IMPORTED_BY = os.getpid()


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processor_flags() -> str:
    """The line of /proc/cpuinfo that lists the processor's instruction sets; empty without such a file."""
    with suppress(OSError), PROCESSORS.open(encoding="utf-8") as file:
        return next((line for line in file if line.startswith(("flags", "Features"))), "").strip()
    return ""


def one_thread() -> dict[str, str]:
    """The environment of a worker process: ONE_THREAD, and this process's own XLA_FLAGS before its flags."""
    flags = [*os.environ.get("XLA_FLAGS", "").split(), ONE_THREAD["XLA_FLAGS"]]
    return ONE_THREAD | {"XLA_FLAGS": " ".join(flags)}


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes that are started within."""
    saved = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in saved.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def stderr_discarded() -> Iterator[None]:
    """Discards what is written to file descriptor 2 within, such as messages of OpenCV and its libraries."""
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)


def cache_compiled() -> None:
    """Makes JAX keep its compiled programs in `.scratch`, one folder per kind of processor."""
    if not (flags := processor_flags()):
        return
    name = f"compiled-{hashlib.sha256(flags.encode()).hexdigest()[:16]}"
    folder = Path(os.environ.get("DVC_ROOT", "."), ".scratch", name).absolute()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    # Small programs too: a stage uses a hundred, and compiling them again takes seconds.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def keep_memory() -> None:
    """Makes glibc keep freed memory. A training step allocates and frees some 100 MB, and the kernel would
    clear every page again, which takes a third of the step."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(ARENA_MAX, 1)  # one arena for all threads, since only the main arena keeps its memory
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(TOP_PAD, 2**26)


def convolve_without_ynnpack() -> None:
    """Makes XLA compile convolutions itself on a CPU, unless the user's XLA_FLAGS say otherwise.

    By default it leaves convolutions, products and sums to YNNPACK, which is faster for M's products, but
    uses two cores badly for V's convolutions. A GPU's programs do not change.
    """
    _add_flags(before=NO_YNNPACK)


def set_gpu_flags(*, deterministic: bool) -> None:
    """Makes XLA choose operations that repeat bit for bit on a GPU."""
    if deterministic:
        _add_flags(after="--xla_gpu_deterministic_ops=true")


def ignore_jax_variables() -> None:
    """Removes variables that would change results from the environment of this process, before it imports
    JAX, and of those that it starts."""
    for name in RESULTS_DEPEND_ON:
        os.environ.pop(name.upper(), None)


def check_jax() -> None:
    """Starts JAX. Raises BadInput if it is set otherwise than for all results, lacks the devices that the
    user asks for, or cannot compute since this process was forked."""
    import jax

    settings: Any = jax.config
    for name, expected in RESULTS_DEPEND_ON.items():
        value = getattr(settings, name, expected)  # not every setting can be read
        found = getattr(value, "value", value)  # of an enumeration
        if found != expected:
            remedy = f"Unset {name.upper()}, or call jax.config.update({name!r}, {expected!r})."
            raise BadInput(f"{name}: found {found!r}, expected {expected!r}, as for all results. {remedy}")
    _check_fork(os.getpid())
    _start_jax(settings.jax_platforms or "")


def _start_jax(platforms: str) -> None:
    """Starts JAX on `platforms`, if any. Raises BadInput without them; if there are none and it does not use
    an NVIDIA GPU, says so in one line instead of JAX's many."""
    import jax

    disabled = logging.root.manager.disable
    if nvidia.program() is not None:
        logging.disable(logging.ERROR)
    try:
        backend = jax.default_backend()
    except (RuntimeError, AssertionError) as error:
        if not platforms:
            raise
        reason = str(error).partition(" (set JAX_PLATFORMS")[0] or "no such device was found"
        wants_gpu = {"cuda", "gpu"} & set(platforms.split(","))
        remedy = f" For the GPU: {nvidia.remedy(nvidia.driver())}." if wants_gpu else ""
        raise BadInput(
            f"JAX_PLATFORMS: found {platforms}, expected devices of this machine: {reason}. Unset it, or set"
            f" it to cpu.{remedy}"
        ) from None
    finally:
        logging.disable(disabled)
    if backend == "cpu" and not platforms:
        nvidia.warn_of_unused()


@cache
def _check_fork(process: int) -> None:
    """Raises BadInput if this process was forked from one in which JAX had started threads: it has none of
    them and would wait for them for ever."""
    import jax

    if process == IMPORTED_BY and not isinstance(multiprocessing.current_process(), ForkProcess):
        return
    settings: Any = jax.config
    count = settings.jax_num_cpu_devices
    try:
        settings.update("jax_num_cpu_devices", count + 2)  # JAX refuses this once it has started
    except RuntimeError:
        raise BadInput(
            "start method: found fork after JAX has started, which hangs, expected spawn or forkserver:"
            ' AsyncVectorEnv(..., context="spawn"), make_vec(..., vector_kwargs={"context": "spawn"}),'
            ' SubprocVecEnv(..., start_method="spawn")'
        ) from None
    settings.update("jax_num_cpu_devices", count)


def _add_flags(before: str = "", after: str = "") -> None:
    """Adds flags to the user's XLA_FLAGS. XLA reads them once, when JAX first computes; of a flag that is set
    twice it takes the last value."""
    os.environ["XLA_FLAGS"] = f"{before} {os.environ.get('XLA_FLAGS', '')} {after}".strip()
