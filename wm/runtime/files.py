"""Atomic writes (a file is complete or absent), locks, JSON, CSV, checksums."""

import csv
import errno
import fcntl
import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from wm.errors import BadInput
from wm.runtime.places import remedy

OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)  # rename cannot replace the target


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path for a file or a folder that replaces `path` on success, and only then.

    It lies beside `path`, on the same file system. Leftovers of killed processes are removed. An OSError
    without a file name gets that of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    holder, lock = _held_folder(path)
    try:
        yield holder / path.name
        _take_place(holder / path.name, path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        remove(holder)
        lock.close()


def _held_folder(path: Path) -> tuple[Path, IO[str]]:
    """A new folder beside `path`, and its lock."""
    while True:
        holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".unfinished", dir=path.parent))
        if lock := hold(holder):  # None if another process has just removed it as a leftover
            return holder, lock


def _take_place(unfinished: Path, path: Path) -> None:
    """Moves a file or a folder to `path`, and anything already there out of the way.

    Raises OSError if a file would replace a folder.
    """
    for number in range(1000):
        try:
            os.replace(unfinished, path)
            return
        except OSError as error:
            if error.errno not in OCCUPIED or not unfinished.is_dir():
                raise
        with suppress(FileNotFoundError):  # another process moved it
            os.replace(path, unfinished.with_name(f"before-{number}"))
    raise RuntimeError(f"{path}: replaced a thousand times while it was written")  # cannot happen


def _remove_leftovers(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        if lock := hold(left):
            shutil.rmtree(left, ignore_errors=True)
            lock.close()


def hold(folder: Path) -> IO[str] | None:
    """A lock on a folder, held until it is closed or the process ends.

    None if another process holds it or the folder does not exist.
    """
    try:
        lock = (folder / "lock").open("w")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock.fileno()).st_ino == (folder / "lock").stat().st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):  # held, or removed by its holder in between
        pass
    lock.close()
    return None


def remove(path: Path) -> None:
    """Removes a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """`content` as a file."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    text = json_text(content)
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def json_text(content: Any) -> str:
    """`content` as the text that `write_json` writes."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises BadInput if the file is missing or not JSON."""
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise BadInput(f"{path}: not valid JSON ({error}). {remedy(path)}") from None
    except FileNotFoundError:
        raise BadInput(f"{path}: not found. {remedy(path, missing=True)}") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, expected a JSON file. {remedy(path)}") from None


def parse_json(content: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises ValueError, also for NaN, infinity and too deep nesting."""

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text[:40]} is not a finite number")
        return value

    try:
        return json.loads(content.decode(), parse_constant=number, parse_float=number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV file with the first row's keys as its header."""
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rounded(values: Iterable[float], digits: int = 3) -> list[float]:
    """Floats rounded to `digits` decimals, for files that people read and git diffs."""
    return [round(float(value), digits) for value in values]
