"""How long the stages that `dvc repro` runs take, noted in `.scratch/stages` for `wm status`."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from wm.runtime import files

FOLDER = Path(".scratch", "stages")
TRIES = 20  # to hold a note that `wm status` holds for a moment


class Note(NamedTuple):
    """A stage's last run."""

    began: float  # seconds since 1970
    units: float  # of work
    seconds: float | None = None  # that the run took; None if it has not ended
    whole: bool = True  # whether it did all units; False if it resumed an interrupted run
    runs: bool = False  # whether it runs now


@contextmanager
def noted(units: Callable[[str], float]) -> Iterator[None]:
    """Notes when the stage that DVC runs begins and ends; does nothing for a stage that DVC does not run.

    `units` is the amount of work of the stage of a name in dvc.yaml. A note that cannot be written is left
    out, since no stage fails for lack of it.
    """
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    lock = _held(name) if name else None
    if lock is None:
        yield
        return
    with lock:
        before = read(name)
        resumes = before is not None and before.seconds is None
        note, start = Note(time.time(), units(name), whole=not resumes), time.monotonic()
        _write(name, note)
        yield
        _write(name, note._replace(seconds=time.monotonic() - start))


def notes() -> dict[str, Note]:
    """The note of every stage's last run, by the stage's name in dvc.yaml."""
    paths = sorted(FOLDER.glob("*/note.json"))
    return {path.parent.name: note for path in paths if (note := read(path.parent.name))}


def read(name: str) -> Note | None:
    """A stage's note; None if there is none, or it is damaged."""
    try:
        content = files.parse_json((FOLDER / name / "note.json").read_bytes())
        note = Note(**content, runs=_is_held(name))
        return note if isinstance(note.began + note.units + (note.seconds or 0), float) else None
    except (OSError, ValueError, TypeError):
        return None


def _write(name: str, note: Note) -> None:
    content: dict[str, Any] = note._asdict()
    del content["runs"]
    with suppress(OSError):
        files.write_json(FOLDER / name / "note.json", content)


def _held(name: str) -> IO[str] | None:
    """The lock on a stage's folder, held while the stage runs."""
    with suppress(OSError):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        for _ in range(TRIES):
            if lock := files.hold(FOLDER / name):
                return lock
            time.sleep(0.01)
    return None


def _is_held(name: str) -> bool:
    lock = files.hold(FOLDER / name)
    if lock:
        lock.close()
    return lock is None
