"""Where the exports write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wm.errors import BadInput
from wm.runtime import files


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`files.replacing` for a place that the user names. Raises BadInput where it cannot be written."""
    try:
        with files.replacing(path) as unfinished:
            yield unfinished
    except IsADirectoryError:
        raise BadInput(f"{path}: found a folder, expected a file to write") from None
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{path.parent}: found a file, expected a folder to write to") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror}), expected a writable place") from None
