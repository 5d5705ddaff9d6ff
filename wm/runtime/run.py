"""How a command ends: an error is one line on standard error and an exit code."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from wm.errors import BadInput, Halted, Resumable

FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def run(main: Callable[..., Any], *arguments: Any) -> None:
    """Calls `main`. Exit codes: 2 for bad input, 1 for work that cannot continue, 130 for Ctrl-C."""
    code = _exit_code(main, *arguments)  # `main` has returned, and its processes with it, before the exit
    if code:
        sys.exit(code)


def _exit_code(main: Callable[..., Any], *arguments: Any) -> int:
    try:
        main(*arguments)
    except BadInput as error:
        return _fail(f"error: {error}", 2)
    except Halted as error:
        return _fail(f"error: {error}", 1)
    except OSError as error:
        if error.errno not in FULL_OR_READ_ONLY:
            raise
        return _fail(f"error: {error.filename or 'writing'}: {os.strerror(error.errno)}", 1)
    except KeyboardInterrupt as interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut the exit short
        remedy = "; rerun the same command to resume" if isinstance(interrupt, Resumable) else ""
        return _fail(f"interrupted{remedy}", 130)
    return 0


def _fail(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
