"""Model files: a JSON header (kind, version, sizes, leaf table, sha256), then the leaves."""

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from wm import errors
from wm.errors import BadInput
from wm.params import section
from wm.params.section import Section
from wm.runtime import files
from wm.runtime.places import remedy

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


M = TypeVar("M", bound=eqx.Module)


def save(path: Path, model: Any) -> None:
    """Writes an `eqx.Module` with the name of its class and its `sizes`, from which `load` rebuilds it."""
    payload = io.BytesIO()
    eqx.tree_serialise_leaves(payload, model)
    header = {
        "kind": type(model).__name__,
        "version": VERSION,
        "sizes": model.sizes,
        "leaves": _leaf_table(model),
        "sha256": checksum(payload.getvalue()),
    }
    with files.replacing(path) as unfinished:
        unfinished.write_bytes(json.dumps(header).encode() + b"\n" + payload.getvalue())


def load(path: Path, kind: type[M]) -> M:
    """The model of class `kind` at `path`.

    Raises BadModelFile for a missing or damaged file, another class or version, leaves whose shapes
    contradict the sizes, and values that are not finite.
    """
    header, payload = _read(path)
    check(path, "kind", header.kind, kind.__name__)
    check(path, "sha256", checksum(payload), header.sha256)
    skeleton = _skeleton(path, kind, header.sizes)
    for leaf, expected in zip(header.leaves, table := _leaf_table(skeleton), strict=False):
        check(path, f"leaves{expected[0]}", list(leaf), expected)
    check(path, "number of leaves", len(header.leaves), len(table))
    _check_arrays(path, payload, table)
    model = eqx.tree_deserialise_leaves(io.BytesIO(payload), skeleton, _read_leaf)
    for name, leaf in _named_leaves(model):
        if not np.isfinite(np.asarray(leaf)).all():  # jnp.isfinite would compile a program for every shape
            raise BadModelFile(f"{path}: {name}: found values that are not finite. Train the model again.")
    return model


def checksum(payload: bytes) -> str:
    """SHA-256 of the leaves, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def check(path: Path, field: str, found: Any, expected: Any) -> None:
    """Raises BadModelFile if a field of the model file differs from what is expected."""
    if found != expected:
        found, expected = (errors.shown(value).strip("'") for value in (found, expected))
        raise BadModelFile(f"{path}: {field}: found {found}, expected {expected}. {remedy(path)}")


def check_sizes(path: Path, model: Any, reference: Any) -> None:
    """Raises BadModelFile if the model loaded from `path` has other sizes than the model `reference`."""
    for name, expected in reference.sizes.items():
        check(path, name, model.sizes[name], expected)


def _read(path: Path) -> tuple[Header, bytes]:
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
        advice = "Check out the version of the code that wrote it, or run `dvc repro`."
        raise BadModelFile(f"{path}: version: {found}. {advice}")
    if json.dumps(content).encode() + b"\n" != first:
        raise BadModelFile(f"{path}: the header was changed after it was written. {remedy(path)}")
    try:
        return section.validated(Header, content, str(path)), payload
    except BadInput as error:
        raise BadModelFile(f"{error}. {remedy(path)}") from None


def _skeleton(path: Path, kind: Any, sizes: dict[str, Any]) -> Any:
    """The model with shapes in place of arrays, which takes no memory."""
    for name, size in sizes.items():
        if isinstance(size, int) and not 0 <= size <= MAX_SIZE:
            raise BadModelFile(
                f"{path}: sizes.{name}: found {errors.shown(size)}, expected 0 to {MAX_SIZE}. {remedy(path)}"
            )
    try:
        return eqx.filter_eval_shape(lambda: kind(**sizes, key=jr.key(0)))
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        reason = errors.shown(str(error))
        found = f"found {errors.shown(sizes)}, expected those of {kind.__name__} ({reason})"
        raise BadModelFile(f"{path}: sizes: {found}. {remedy(path)}") from None


def _check_arrays(path: Path, payload: bytes, table: list[list[Any]]) -> None:
    """Raises BadModelFile unless the payload holds exactly the arrays of the table.

    Checked before the arrays are read, so that no array can allocate more memory than the file has bytes.
    """
    position = 0
    for name, shape, dtype in table:
        start = io.BytesIO()
        kind = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(start, kind)
        if not payload.startswith(start.getvalue(), position):
            raise BadModelFile(
                f"{path}: {name}: expected an array of {dtype} {shape} at byte {position}. {remedy(path)}"
            )
        position += len(start.getvalue()) + np.dtype(dtype).itemsize * math.prod(shape)
    check(path, "bytes", len(payload), position)


def _read_leaf(file: Any, leaf: Any) -> Any:
    """The next array. Equinox's own way compiles a program for every shape."""
    return jax.device_put(np.load(file, allow_pickle=False)) if hasattr(leaf, "shape") else leaf


def _named_leaves(model: Any) -> list[tuple[str, Any]]:
    arrays = eqx.filter(model, lambda leaf: eqx.is_array(leaf) or hasattr(leaf, "shape"))
    paths = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _leaf_table(model: Any) -> list[list[Any]]:
    return [[name, list(leaf.shape), str(leaf.dtype)] for name, leaf in _named_leaves(model)]
