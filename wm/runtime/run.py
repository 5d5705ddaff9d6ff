"""How a command ends: an error is one line on standard error and an exit code."""

import errno
import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

from wm.errors import BadInput, Halted, Resumable
from wm.runtime import interrupt
from wm.runtime.progress import heartbeat

FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def run(main: Callable[..., Any], *arguments: Any) -> None:
    """Calls `main`. Exit codes: 2 for bad input, 1 for work that cannot continue, 130 for Ctrl-C, 143
    for SIGTERM."""
    code = _exit_code(main, *arguments)  # `main` has returned, and its processes with it, before the exit
    if code:
        sys.exit(code)


def _exit_code(main: Callable[..., Any], *arguments: Any) -> int:
    words = itertools.takewhile(lambda word: not word.startswith("-"), map(str, arguments))
    try:
        with heartbeat(" ".join(words)):
            main(*arguments)
    except BadInput as error:
        return _fail(f"error: {error}", 2)
    except Halted as error:
        return _fail(f"error: {error}", 1)
    except OSError as error:
        if error.errno not in FULL_OR_READ_ONLY:
            raise
        return _fail(f"error: {error.filename or 'writing'}: {os.strerror(error.errno)}", 1)
    except KeyboardInterrupt as error:
        interrupt.ignore()  # a second one must not cut the exit short
        number = interrupt.number_of(error)
        remedy = "; rerun the same command to resume" if isinstance(error, Resumable) else ""
        return _fail(f"{interrupt.SIGNALS[number]}{remedy}", interrupt.exit_code(number))
    return 0


def _fail(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
