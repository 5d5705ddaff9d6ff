"""Files that are either whole or absent: atomic writes, JSON, checksums."""

import csv
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wm import config


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder at; it takes `path`'s place only on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    remove(unfinished)
    try:
        yield unfinished
        if unfinished.is_dir():
            remove(path)
        os.replace(unfinished, path)
    finally:
        remove(unfinished)


def remove(path: Path) -> None:
    """Nothing at `path`, be it a file, a folder or absent before."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """`content` as JSON; NaN and infinity are refused (ValueError), since JSON has neither."""
    text = json_text(content)
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def json_text(content: Any) -> str:
    """`content` as `write_json` writes it."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """What `write_json` wrote. Raises BadInput naming the file where it is missing or no JSON."""
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise config.BadInput(f"{path}: no JSON ({error}). Delete it and run `dvc repro`.") from None
    except OSError as error:
        raise config.BadInput(f"{path}: {error.strerror}. Run `dvc repro` or `dvc checkout`.") from None


def parse_json(content: bytes) -> Any:
    """What JSON in UTF-8 says. Raises ValueError, for NaN, infinity and bottomless nesting, too."""

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text[:40]} is no number")
        return value

    try:
        return json.loads(content.decode(), parse_constant=number, parse_float=number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One line a row under a header of the first row's keys."""
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rounded(values: Iterable[float], digits: int = 3) -> list[float]:
    """Floats short enough to be read by people and diffed by git."""
    return [round(float(value), digits) for value in values]
