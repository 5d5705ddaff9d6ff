"""One module a stage. While `python -m stages.<name>` still imports, Ctrl-C ends it without a word.

What JAX compiles for a stage is kept in the scratch folder, for the next round's; memory that it gives
back is kept for its next step.
"""

import ctypes
import os
import signal
import sys


def keep_compiled() -> None:
    """Has JAX, not yet imported, keep what takes it long: by processor, for no other may run it."""
    import hashlib  # here, once Ctrl-C is seen to
    from pathlib import Path

    described = Path("/proc/cpuinfo")
    if not described.exists():
        return
    kinds = [line for line in described.read_text().splitlines() if line.startswith(("flags", "Features"))]
    name = f"compiled-{hashlib.sha256(''.join(kinds[:1]).encode()).hexdigest()[:16]}"
    folder = Path(os.environ.get("DVC_ROOT", "."), ".scratch", name).absolute()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


MMAP_MAX, TRIM_THRESHOLD, TOP_PAD, ARENA_MAX = -4, -1, -2, -8  # of glibc's malloc.h


def keep_memory() -> None:
    """Has the C library keep what is freed. A training step takes some 100 MB and gives them back, and the
    system would clear every page of them anew: a third of the step's time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is not None:
        mallopt(ARENA_MAX, 1)  # one for all threads: only its memory is kept
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(TOP_PAD, 2**26)


if sys.argv[0] == "-m":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `config.run`
    keep_compiled()
    keep_memory()
