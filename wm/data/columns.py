"""The columns of a shard: episodes as Arrow tables and back, and checks of what a file contains."""

from typing import Any

import numpy as np
import pyarrow as pa

from wm import errors
from wm.data.episode import Episode, Record
from wm.spec import ACTION_SIZE, FRAME_BYTES, FRAME_SHAPE

MAX_ROW_GROUP_BYTES = 1 << 26  # the frames of an episode have 12 MB at most
MAX_LATENT = 1 << 16  # numbers

OBSERVATIONS = {"frame", "mu", "logvar"}
SCALARS = {
    "episode": pa.int32(),
    "step": pa.int16(),
    "reward": pa.float32(),
    "missed": pa.int16(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
}


def to_table(episode: Episode) -> pa.Table:
    """One row per step."""
    length = episode.record.length
    columns = {
        "episode": np.full(length, episode.record.episode, np.int32),
        "step": np.arange(length, dtype=np.int16),
        **episode.observations,
        "action": episode.actions,
        "reward": episode.rewards,
        "missed": episode.missed,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
    }
    return pa.table({name: _column(values) for name, values in columns.items()})


def _column(values: np.ndarray) -> pa.Array:
    """One row per step: bytes for frames, fixed-size lists for other arrays, scalars otherwise."""
    if values.ndim == 1:
        return pa.array(values)
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    if values.dtype == np.uint8:
        kind = pa.binary(flat.shape[1])
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def from_table(record: Record, table: pa.Table) -> Episode:
    """The episode of a table. Raises ValueError for missing values and for floats that are not finite."""
    if any(column.null_count for column in table.columns):
        raise ValueError(f"row group {record.row_group}: values are missing")
    columns = {name: _array(table.column(name).combine_chunks()) for name in table.column_names}
    for name, values in columns.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"row group {record.row_group}: {name} has values that are not finite")
    return Episode(
        record=record,
        observations={name: columns[name] for name in columns.keys() & OBSERVATIONS},
        actions=columns["action"],
        rewards=columns["reward"],
        missed=columns["missed"],
        terminated=columns["terminated"],
        truncated=columns["truncated"],
    )


def _array(column: Any) -> np.ndarray:
    if isinstance(column, pa.FixedSizeBinaryArray):
        values = np.frombuffer(column.buffers()[1], np.uint8)
        values = values[column.offset * column.type.byte_width :]
        return values[: len(column) * column.type.byte_width].reshape(len(column), *FRAME_SHAPE)
    if isinstance(column, pa.FixedSizeListArray):
        return column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)


def check_schema(schema: pa.Schema) -> None:
    """Raises ValueError unless the columns are those of `to_table`."""
    names = sorted(schema.names)
    if not set(names) & OBSERVATIONS or set(names) - OBSERVATIONS != {*SCALARS, "action"}:
        raise ValueError(f"found the columns {errors.listed(names)}, expected those of an episode")
    widths = {name: width(schema.field(name).type) for name in names if name not in SCALARS}
    scalars = all(schema.field(name).type == kind for name, kind in SCALARS.items())
    frame_fits = widths.get("frame", FRAME_BYTES) == FRAME_BYTES
    if len(set(names)) != len(names) or not scalars or widths["action"] != ACTION_SIZE or not frame_fits:
        raise ValueError(f"found columns of other types: {errors.shown(str(schema))}")


def width(kind: pa.DataType) -> int:
    """Numbers per row of a column: bytes of a frame, floats of a list. Raises ValueError for other types."""
    if isinstance(kind, pa.FixedSizeBinaryType):
        return kind.byte_width
    floats = isinstance(kind, pa.FixedSizeListType) and kind.value_type == pa.float32()
    if floats and 1 <= kind.list_size <= MAX_LATENT:
        return kind.list_size
    raise ValueError(f"found a column of {errors.shown(str(kind))}, expected frames or floats")


def check_row_group(group: Any, record: Record) -> None:
    """Raises ValueError, before any row is read, unless the row group has the record's length."""
    if group.num_rows != record.length or group.total_byte_size > MAX_ROW_GROUP_BYTES:
        found = f"{group.num_rows} rows, {group.total_byte_size} bytes"
        raise ValueError(f"row group {record.row_group}: found {found}, expected {record.length} rows")
