"""DVC's lock on the project, which `dvc repro` gives up while a stage runs and takes back when it ends.

Another command of DVC may then hold it. DVC waits three seconds, fails, and runs the finished stage again the
next time; so a stage waits itself, for as long as it takes.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

LOCK = Path(".dvc", "tmp", "lock")


def wait_until_free() -> None:
    """Returns when no command of DVC holds the lock; at once for a stage that DVC does not run.

    With core.hardlink_lock the lock is of another kind, for which nothing waits.
    """
    if "DVC_STAGE" not in os.environ:
        return
    with suppress(FileNotFoundError), LOCK.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read().strip()
            print(f"done; waiting for another command of DVC (process {holder}) to end", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_SH)
