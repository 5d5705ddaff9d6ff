"""params.yaml as frozen, strict models: the only way in which a number reaches a stage."""

import errno
import os
import signal
import sys
from typing import Any

from wm.errors import BadInput, Halted

FULL_OR_SHUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def run(main: Any, *arguments: Any) -> None:
    """Runs a stage's or a command's `main`; bad input ends it with one line and exit code 2,
    work that cannot go on with 1, Ctrl-C with 130."""
    code = _ended(main, *arguments)  # what ran is let go of, its processes with it, before the exit
    if code:
        sys.exit(code)


def _ended(main: Any, *arguments: Any) -> int:
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(*arguments)
    except BadInput as error:
        return _say(f"error: {error}", 2)
    except Halted as error:
        return _say(f"error: {error}", 1)
    except OSError as error:
        if error.errno not in FULL_OR_SHUT:
            raise
        return _say(f"error: {error.filename or 'writing'}: {os.strerror(error.errno)}", 1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end is near, and not to be cut short
        return _say("interrupted: the same command goes on from here", 130)
    return 0


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
