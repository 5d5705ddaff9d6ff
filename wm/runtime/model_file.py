"""Model files: an `eqx.Module` saved, and loaded with its shapes checked. See `wm.runtime.model_header`."""

import io
import json
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from wm.runtime import files
from wm.runtime.model_header import VERSION, check, check_arrays, checksum, read, wrong_sizes

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
    header, payload = read(path, kind.__name__)
    skeleton = _skeleton(path, kind, header.sizes)
    for leaf, expected in zip(header.leaves, table := _leaf_table(skeleton), strict=False):
        check(path, f"leaves{expected[0]}", list(leaf), expected)
    check(path, "number of leaves", len(header.leaves), len(table))
    check_arrays(path, payload, table)
    return eqx.tree_deserialise_leaves(io.BytesIO(payload), skeleton, _read_leaf)


def check_sizes(path: Path, model: Any, reference: Any) -> None:
    """Raises BadModelFile if the model loaded from `path` has other sizes than the model `reference`."""
    for name, expected in reference.sizes.items():
        check(path, name, model.sizes[name], expected)


def _skeleton(path: Path, kind: Any, sizes: dict[str, Any]) -> Any:
    """The model with shapes in place of arrays, which takes no memory."""
    try:
        return eqx.filter_eval_shape(lambda: kind(**sizes, key=jr.key(0)))
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise wrong_sizes(path, kind.__name__, sizes, str(error)) from None


def _read_leaf(file: Any, leaf: Any) -> Any:
    """The next array. Equinox's own way compiles a program for every shape."""
    return jax.device_put(np.load(file, allow_pickle=False)) if hasattr(leaf, "shape") else leaf


def _named_leaves(model: Any) -> list[tuple[str, Any]]:
    arrays = eqx.filter(model, lambda leaf: eqx.is_array(leaf) or hasattr(leaf, "shape"))
    paths = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _leaf_table(model: Any) -> list[list[Any]]:
    return [[name, list(leaf.shape), str(leaf.dtype)] for name, leaf in _named_leaves(model)]
