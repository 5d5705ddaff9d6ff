"""What a process sets up before it imports JAX: caches, allocator, threads and XLA's flags."""

import ctypes
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processor_flags() -> str:
    """The line of /proc/cpuinfo that lists the processor's instruction sets; empty without such a file."""
    with suppress(OSError), PROCESSORS.open(encoding="utf-8") as file:
        return next((line for line in file if line.startswith(("flags", "Features"))), "").strip()
    return ""


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


def _add_flags(before: str = "", after: str = "") -> None:
    """Adds flags to the user's XLA_FLAGS. XLA reads them once, when JAX first computes; of a flag that is set
    twice it takes the last value."""
    os.environ["XLA_FLAGS"] = f"{before} {os.environ.get('XLA_FLAGS', '')} {after}".strip()
