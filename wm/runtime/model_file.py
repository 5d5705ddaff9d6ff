"""Models on disk: a JSON header (kind, version, sizes, leaf table, sha256), then Equinox's leaves."""

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from wm import errors
from wm.errors import BadInput
from wm.params import section
from wm.params.section import Section
from wm.runtime import files

VERSION = 1
HEADER_BYTES = 1 << 16  # at most
MOST = 1 << 20  # of any size


class BadModelFile(BadInput):
    """A model file is not what it should be; the message names file, found, wanted and mend."""


class Header(Section):
    """The first line of a model file. `sizes` are what the model is made with; a leaf of the table is its
    name, its shape and its type."""

    kind: str
    version: int
    sizes: dict[str, Any]
    leaves: list[list[Any]]
    sha256: str


M = TypeVar("M", bound=eqx.Module)


def save(path: Path, model: Any) -> None:
    """Writes an `eqx.Module`; its class's name and its `sizes` are what `load` rebuilds it from."""
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
    """The model at `path`, which must be a `kind`.

    Raises BadModelFile for a missing or damaged file, another kind or version, leaves of other
    shapes than the sizes call for, and values that are not finite.
    """
    header, payload = _read(path)
    check(path, "kind", header.kind, kind.__name__)
    check(path, "sha256", checksum(payload), header.sha256)
    skeleton = _skeleton(path, kind, header.sizes)
    for found, wanted in zip(header.leaves, table := _leaf_table(skeleton), strict=False):
        check(path, f"leaves{wanted[0]}", list(found), wanted)
    check(path, "number of leaves", len(header.leaves), len(table))
    _check_arrays(path, payload, table)
    model = eqx.tree_deserialise_leaves(io.BytesIO(payload), skeleton)
    for name, leaf in _named_leaves(model):
        if not bool(jnp.isfinite(leaf).all()):
            raise BadModelFile(f"{path}: {name} holds values that are not finite. Train it anew.")
    return model


def checksum(payload: bytes) -> str:
    """SHA-256 of the leaves, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def check(path: Path, field: str, found: Any, wanted: Any) -> None:
    """Raises BadModelFile where the model in the file is another than is wanted."""
    if found != wanted:
        found, wanted = (errors.shown(one).strip("'") for one in (found, wanted))
        raise BadModelFile(f"{path}: {field}: found {found}, wanted {wanted}. {MEND}")


MEND = "Run `dvc checkout` or `dvc repro`."


def check_sizes(path: Path, model: Any, other: Any) -> None:
    """Raises BadModelFile where the model in the file has other sizes than a model that it goes with."""
    for name, wanted in other.sizes.items():
        check(path, name, model.sizes[name], wanted)


def _read(path: Path) -> tuple[Header, bytes]:
    try:
        with path.open("rb") as file:
            first, payload = file.readline(HEADER_BYTES), file.read()
    except FileNotFoundError:
        raise BadModelFile(f"{path}: not found. {MEND[:-1]}, or name another.") from None
    except OSError as error:
        raise BadModelFile(f"{path}: {error.strerror}, wanted a model file.") from None
    try:
        found = files.parse_json(first)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadModelFile(f"{path}: its first line is no JSON header; wanted a model file.")
    if (version := found.get("version")) != VERSION:
        other = "It is of another version of this code: check that out, or run `dvc repro`."
        raise BadModelFile(f"{path}: version: found {errors.shown(version)}, wanted {VERSION}. {other}")
    if json.dumps(found).encode() + b"\n" != first:
        raise BadModelFile(f"{path}: its header is not as it was written. {MEND}")
    try:
        return section.validated(Header, found, str(path)), payload
    except BadInput as error:
        raise BadModelFile(f"{error}. {MEND}") from None


def _skeleton(path: Path, kind: Any, sizes: dict[str, Any]) -> Any:
    """The model without its numbers, which takes no memory."""
    for name, size in sizes.items():
        if isinstance(size, int) and not 0 <= size <= MOST:
            raise BadModelFile(
                f"{path}: sizes.{name}: found {errors.shown(size)}, wanted 0 to {MOST}. {MEND}"
            )
    try:
        return eqx.filter_eval_shape(lambda key: kind(**sizes, key=key), jr.key(0))
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        made = f"{errors.shown(sizes)} make no {kind.__name__}: {errors.shown(str(error))}"
        raise BadModelFile(f"{path}: sizes {made}. {MEND}") from None


def _check_arrays(path: Path, payload: bytes, table: list[list[Any]]) -> None:
    """Raises BadModelFile unless the payload is the arrays of the table, one after the other and no more:
    before they are read, so that none can ask for more memory than it has bytes."""
    at = 0
    for name, shape, dtype in table:
        start = io.BytesIO()
        kind = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(start, kind)
        if not payload.startswith(start.getvalue(), at):
            raise BadModelFile(f"{path}: {name}: found no array of {dtype} {shape} in its place. {MEND}")
        at += len(start.getvalue()) + np.dtype(dtype).itemsize * math.prod(shape)
    check(path, "bytes", len(payload), at)


def _named_leaves(model: Any) -> list[tuple[str, Any]]:
    arrays = eqx.filter(model, lambda leaf: eqx.is_array(leaf) or hasattr(leaf, "shape"))
    paths = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _leaf_table(model: Any) -> list[list[Any]]:
    return [[name, list(leaf.shape), str(leaf.dtype)] for name, leaf in _named_leaves(model)]
