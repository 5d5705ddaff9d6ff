"""The header of a model file, and the checks of the file that need no JAX.

A model file is a line of JSON (kind, version, sizes, leaf table, sha256), then the arrays in the format NPY.
"""

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from wm import errors
from wm.errors import BadInput
from wm.params import section
from wm.params.section import Section
from wm.runtime import files
from wm.runtime.places import of_pipeline, remedy

VERSION = 1
MAX_HEADER_BYTES = 1 << 16
MAX_SIZE = 1 << 20


class BadModelFile(BadInput):
    """A model file cannot be used. The message: file, what was found, what was expected, remedy."""


class Header(Section):
    """The first line of a model file.

    `sizes` are the arguments that the model is built with; an entry of `leaves` is name, shape and dtype.
    """

    kind: str
    version: int
    sizes: dict[str, Any]
    leaves: list[list[Any]]
    sha256: str

    def size(self, name: str, path: Path) -> int:
        """One of the sizes in the header of the file at `path`. Raises BadModelFile if it is no number."""
        if not isinstance(value := self.sizes.get(name), int):
            raise wrong_sizes(path, self.kind, self.sizes, f"{name} is not a whole number")
        return value


def check_file(path: Path, kind: str) -> Header:
    """The header of the file of a model of class `kind`.

    Raises BadModelFile for a missing or damaged file, another class or version, and values that are not
    finite. `model_file.load` also compares the leaves' shapes with the sizes.
    """
    header, payload = read(path, kind)
    try:
        check_arrays(path, payload, header.leaves)
    except (TypeError, ValueError, OverflowError):  # of a table that describes no arrays
        found = f"found {errors.shown(header.leaves)}, expected names, shapes and types"
        raise BadModelFile(f"{path}: leaves: {found}. {remedy(path)}") from None
    return header


def read(path: Path, kind: str) -> tuple[Header, bytes]:
    """The header, and the bytes of the leaves, which have the checksum in it. Raises BadModelFile."""
    header, payload = _parts(path)
    check(path, "kind", header.kind, kind)
    check(path, "sha256", checksum(payload), header.sha256)
    for name, size in header.sizes.items():
        if isinstance(size, int) and not 0 <= size <= MAX_SIZE:
            raise BadModelFile(
                f"{path}: sizes.{name}: found {errors.shown(size)}, expected 0 to {MAX_SIZE}. {remedy(path)}"
            )
    return header, payload


def wrong_sizes(path: Path, kind: str, sizes: dict[str, Any], reason: str) -> BadModelFile:
    """The error for sizes that are not those of the class `kind`."""
    found = f"found {errors.shown(sizes)}, expected those of {kind} ({errors.shown(reason)})"
    return BadModelFile(f"{path}: sizes: {found}. {remedy(path)}")


def checksum(payload: bytes) -> str:
    """SHA-256 of the leaves, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def check(path: Path, field: str, found: Any, expected: Any) -> None:
    """Raises BadModelFile if a field of the model file differs from what is expected."""
    if found != expected:
        found, expected = (errors.shown(value).strip("'") for value in (found, expected))
        raise BadModelFile(f"{path}: {field}: found {found}, expected {expected}. {remedy(path)}")


def _parts(path: Path) -> tuple[Header, bytes]:
    try:
        with path.open("rb") as file:
            first, payload = file.readline(MAX_HEADER_BYTES), file.read()
    except FileNotFoundError:
        raise BadModelFile(f"{path}: not found. {remedy(path, missing=True)}") from None
    except OSError as error:
        raise BadModelFile(f"{path}: {error.strerror}, expected a model file. {remedy(path)}") from None
    try:
        content = files.parse_json(first)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        found = "the first line is not a JSON header" if first else "the file is empty"
        raise BadModelFile(f"{path}: {found}, expected a model file. {remedy(path)}")
    if "version" not in content:
        raise BadModelFile(f"{path}: the header is damaged. {remedy(path)}")
    if (version := content.get("version")) != VERSION:
        found = f"found {errors.shown(version)}, expected {VERSION}"
        advice = "Check out the version of the code that wrote it"
        raise BadModelFile(f"{path}: version: {found}. {advice}{', or run `dvc repro`' * of_pipeline(path)}.")
    if json.dumps(content).encode() + b"\n" != first:
        raise BadModelFile(f"{path}: the header was changed after it was written. {remedy(path)}")
    try:
        return section.validated(Header, content, str(path)), payload
    except BadInput as error:
        raise BadModelFile(f"{error}. {remedy(path)}") from None


def check_arrays(path: Path, payload: bytes, table: list[list[Any]]) -> None:
    """Raises BadModelFile unless the payload holds exactly the arrays of the table, and their values are
    finite.

    Checked before the arrays are read, so that no array can allocate more memory than the file has bytes.
    """
    position, ends = 0, []
    for name, shape, dtype in table:
        start = io.BytesIO()
        kind = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(start, kind)
        if not payload.startswith(start.getvalue(), position):
            raise BadModelFile(
                f"{path}: {name}: expected an array of {dtype} {shape} at byte {position}. {remedy(path)}"
            )
        position += len(start.getvalue()) + np.dtype(dtype).itemsize * math.prod(shape)
        ends.append(position)
    check(path, "bytes", len(payload), position)
    for (name, shape, dtype), end in zip(table, ends, strict=True):
        count = math.prod(shape)
        values = np.frombuffer(payload, dtype, count, end - np.dtype(dtype).itemsize * count)
        if not np.isfinite(values).all():  # jnp.isfinite would compile a program for every shape
            raise BadModelFile(f"{path}: {name}: found values that are not finite. Train the model again.")
