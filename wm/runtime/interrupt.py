"""Ctrl-C: KeyboardInterrupt, but only where it takes effect."""

import os
import signal
import threading
from types import FrameType

IMPORT = "<frozen importlib"  # how the names of the import system's files begin
GC_CALLBACK = "_xla_gc_callback"  # JAX's, called by the garbage collector, which discards exceptions


def install() -> None:
    """Handles Ctrl-C with `handle`, unless the parent process has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handle)


def handle(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt. Ends the process where a module is being imported, since an import may
    catch the exception, and waits for the end of a garbage collection."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORT):
            os.write(2, b"interrupted\n")
            os._exit(130)
        if frame.f_code.co_name == GC_CALLBACK:
            main = threading.main_thread().ident
            threading.Timer(0.05, signal.pthread_kill, [main, number]).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
