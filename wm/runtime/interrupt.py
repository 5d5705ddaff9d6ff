"""Ctrl-C and SIGTERM, which SLURM sends before it kills: KeyboardInterrupt where that takes effect."""

import os
import signal
import threading
from types import FrameType

IMPORT = "<frozen importlib"  # how the names of the import system's files begin
GC_CALLBACK = "_xla_gc_callback"  # JAX's, called by the garbage collector, which discards exceptions
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}  # handled, and the word for each


def install() -> None:
    """Handles the signals with `handle`, except those that the parent process has ignored: a shell without
    job control ignores Ctrl-C for what it starts in the background."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL, handle):
            signal.signal(number, handle)


def ignore() -> None:
    """Ignores the signals from now on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def handle(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt with the signal's number. Ends the process where a module is being imported,
    since an import may catch the exception, and waits for the end of a garbage collection."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORT):
            os.write(2, f"{SIGNALS[signal.Signals(number)]}\n".encode())
            os._exit(exit_code(number))
        if frame.f_code.co_name == GC_CALLBACK:
            main = threading.main_thread().ident
            threading.Timer(0.05, signal.pthread_kill, [main, number]).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt(number)


def number_of(interrupt: KeyboardInterrupt) -> signal.Signals:
    """The signal that an exception stands for."""
    return signal.Signals(interrupt.args[0] if interrupt.args else signal.SIGINT)


def exit_code(number: int) -> int:
    """The exit code that a shell gives to a process which the signal ended."""
    return 128 + number
