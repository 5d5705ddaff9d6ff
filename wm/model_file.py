"""Models on disk: a JSON header (kind, version, sizes, leaf table, sha256), then Equinox's leaves."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from wm import config, files

VERSION = 1


class BadModelFile(config.BadInput):
    """A model file is not what it should be; the message names file, found, wanted and mend."""


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
        "sha256": hashlib.sha256(payload.getvalue()).hexdigest(),
    }
    with files.replacing(path) as unfinished:
        unfinished.write_bytes(json.dumps(header).encode() + b"\n" + payload.getvalue())


def load(path: Path, kind: type[M]) -> M:
    """The model at `path`, which must be a `kind`.

    Raises BadModelFile for a missing or damaged file, another kind or version, leaves of other
    shapes than the sizes call for, and values that are not finite.
    """
    header, payload = _read(path)
    _check(path, "kind", header.get("kind"), kind.__name__)
    _check(path, "version", header.get("version"), VERSION)
    _check(path, "sha256", hashlib.sha256(payload).hexdigest(), header.get("sha256"))
    make: Any = kind
    try:
        skeleton = eqx.filter_eval_shape(lambda key: make(**header["sizes"], key=key), jr.key(0))
    except (TypeError, ValueError) as error:
        raise BadModelFile(f"{path}: sizes {header['sizes']} make no {kind.__name__}: {error}") from None
    _check(path, "leaves", header.get("leaves"), _leaf_table(skeleton))
    model = eqx.tree_deserialise_leaves(io.BytesIO(payload), skeleton)
    for name, leaf in _named_leaves(model):
        if not bool(jnp.isfinite(leaf).all()):
            raise BadModelFile(f"{path}: {name} holds values that are not finite. Train it anew.")
    return model


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        first, _, payload = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise BadModelFile(f"{path}: not found. Run `dvc repro` or `dvc checkout`.") from None
    try:
        header = json.loads(first)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise BadModelFile(f"{path}: its first line is no JSON header; wanted a model file.")
    return header, payload


def _check(path: Path, field: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise BadModelFile(f"{path}: {field}: found {found}, wanted {wanted}. Run `dvc checkout`.")


def _named_leaves(model: Any) -> list[tuple[str, Any]]:
    arrays = eqx.filter(model, lambda leaf: eqx.is_array(leaf) or hasattr(leaf, "shape"))
    paths = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _leaf_table(model: Any) -> list[list[Any]]:
    return [[name, list(leaf.shape), str(leaf.dtype)] for name, leaf in _named_leaves(model)]
