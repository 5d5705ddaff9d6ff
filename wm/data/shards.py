"""Whole episodes in Parquet shards: one row a step, one row group an episode, a manifest written last."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, NonNegativeInt

from wm import errors
from wm.data.episode import Episode, Record
from wm.errors import BadInput
from wm.params.file import PARAMS
from wm.params.section import Section, validated_json
from wm.runtime import files
from wm.spec import FRAMES_PER_EPISODE

MANIFEST = "manifest.json"


VERSION = 2


SHARD_BYTES = 64 << 20  # a shard is closed by the episode that takes it past this


class CorruptShard(BadInput):
    """A folder of shards is not what its manifest says; the message names the file and the mend."""


class Writer:
    """Appends episodes to the shards of a folder, which appears only when `finish` is called."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder, self.prefix = folder, prefix
        self.records: list[Record] = []
        self.shards: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        folder.mkdir(parents=True)

    def write(self, episode: Episode) -> None:
        """Adds one episode as a row group."""
        record = replace(episode.record, episode=len(self.records))
        if record.kept:
            table = _to_table(replace(episode, record=record))
            writer = self._writer or self._open(table.schema)
            shard = self.shards[-1]
            record = replace(record, shard=shard["file"], row_group=shard["row_groups"])
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            shard["rows"] += table.num_rows
            shard["row_groups"] += 1
            if self._sink.tell() >= SHARD_BYTES:
                self._close()
        self.records.append(record)

    def adopt(self, shards: "Shards") -> None:
        """Takes over another folder's shards as they are, byte for byte."""
        self._close()
        for shard in shards.shards:
            shutil.copyfile(shards.folder / shard["file"], self.folder / shard["file"])
        self.shards.extend(shards.shards)
        first = len(self.records)
        self.records += [replace(r, episode=first + i) for i, r in enumerate(shards.records)]

    def finish(self) -> None:
        """Closes the last shard and writes the manifest."""
        self._close()
        manifest = {
            "version": VERSION,
            "shards": self.shards,
            "episodes": [asdict(record) for record in self.records],
        }
        files.write_json(self.folder / MANIFEST, manifest)

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        name = f"{self.prefix}-{len(self.shards):05d}.parquet"
        self.shards.append({"file": name, "rows": 0, "row_groups": 0})
        self._sink = pa.OSFile(str(self.folder / name), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=False,
            write_page_checksum=True,
        )
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None
            self.shards[-1]["sha256"] = files.sha256(self.folder / self.shards[-1]["file"])


class Shards:
    """The episodes of a folder, read one at a time.

    Raises CorruptShard where the manifest is damaged, of another version or contradicts itself, or a shard is
    missing, is one too many, or is not the one written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = _manifest(folder)
        self.shards: list[dict[str, Any]] = [shard.model_dump() for shard in manifest.shards]
        self.records = manifest.episodes
        _check_files(folder, self.shards)
        self._open: dict[str, pq.ParquetFile] = {}

    def kept(self, *, validation: bool | None = None) -> list[Record]:
        """The episodes that have rows: all, or those of one side of the split. Raises BadInput where there
        is none."""
        kept = [record for record in self.records if record.kept and validation in (None, record.validation)]
        if not kept:
            side = {None: "", True: "validation ", False: "training "}[validation]
            more = f"collect more, or lower process.min_score in {PARAMS}"
            raise BadInput(f"{self.folder}: it holds no {side}episode, wanted one at least: {more}")
        return kept

    def read(self, record: Record) -> Episode:
        """The episode behind `record`, its page checksums verified. Raises CorruptShard, for values that are
        no numbers, too."""
        path = self.folder / record.shard
        try:
            file = self._file(record.shard)
            _check_row_group(file.metadata.row_group(record.row_group), record)
            table = file.read_row_group(record.row_group, use_threads=False)
            episode = _from_table(record, table)
            _check_values(episode)
        except UNREADABLE as error:
            raise CorruptShard(f"{path}: {error}. Delete it and run `dvc checkout`.") from None
        return episode

    def expect_frames(self) -> None:
        """Raises CorruptShard unless the episodes hold frames."""
        self._expect({"frame": FRAME_BYTES})

    def expect_latents(self, size: int) -> None:
        """Raises CorruptShard unless the episodes hold latents of `size` numbers."""
        self._expect({"mu": size, "logvar": size})

    def _expect(self, widths: dict[str, int]) -> None:
        for shard in self.shards:
            path = self.folder / shard["file"]
            try:
                schema = self._file(shard["file"]).schema_arrow
                found = {name: _width(schema.field(name).type) for name in widths if name in schema.names}
            except UNREADABLE as error:
                raise CorruptShard(f"{path}: {error}. Delete it and run `dvc checkout`.") from None
            if found != widths:
                raise CorruptShard(f"{path}: found {found} numbers a step, wanted {widths}. Run `dvc repro`.")

    def _file(self, name: str) -> pq.ParquetFile:
        if name not in self._open:
            file = pq.ParquetFile(self.folder / name, page_checksum_verification=True)
            _check_schema(file.schema_arrow)
            self._open[name] = file
        return self._open[name]


FRAME_BYTES = 64 * 64 * 3


ROW_GROUP_BYTES = 1 << 26  # at most; an episode of frames has 12 MB


MOST_NUMBERS = 1 << 16  # of a latent


UNREADABLE = (
    OSError,
    pa.ArrowException,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)  # what Arrow says of damaged files


ShardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.parquet$")]


class _Shard(Section):
    file: ShardName
    rows: NonNegativeInt
    row_groups: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Manifest(Section):
    version: int
    shards: list[_Shard]
    episodes: list[Record]


def _manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    try:
        content = files.read_json(path)
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            other = "It is of another version of this code: check that out, or run `dvc repro`."
            raise CorruptShard(f"{path}: version: found {errors.shown(version)}, wanted {VERSION}. {other}")
        written = files.json_text(content)
        if written.encode() != path.read_bytes():
            raise CorruptShard(
                f"{path}: it is not as it was written. Delete {folder} and run `dvc checkout`."
            )
        manifest = validated_json(_Manifest, written, str(path))
        _check_entries(path, manifest)
    except CorruptShard:
        raise
    except BadInput as error:
        mend = (
            "" if str(error).endswith(".") else f". Delete {folder} and run `dvc checkout`, or `dvc repro`."
        )
        raise CorruptShard(f"{error}{mend}") from None
    return manifest


def _check_entries(path: Path, manifest: _Manifest) -> None:
    """Raises BadInput for episodes that do not lie one after the other in the shards of the list."""
    names = [shard.file for shard in manifest.shards]
    rows: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for i, record in enumerate(manifest.episodes):
        if record.episode != i or record.seed < 0 or not 1 <= record.length <= FRAMES_PER_EPISODE:
            found = f"found episode {record.episode}, seed {record.seed}, length {record.length}"
            raise BadInput(f"{path}: episodes.{i}: {found}, wanted episode {i} of 1 to 1000 steps")
        if not record.kept:
            continue
        if record.shard not in names or record.row_group != groups[record.shard]:
            found = f"found row group {record.row_group} of {errors.shown(record.shard)}"
            raise BadInput(f"{path}: episodes.{i}: {found}, wanted the next one of a shard in its list")
        rows[record.shard] += record.length
        groups[record.shard] += 1
    if len(set(names)) != len(names):
        raise BadInput(f"{path}: shards: the same file twice")
    for shard in manifest.shards:
        found, wanted = (shard.rows, shard.row_groups), (rows[shard.file], groups[shard.file])
        if found != wanted:
            counts = "found {} rows in {} groups, wanted {} in {}".format(*found, *wanted)
            raise BadInput(f"{path}: {errors.shown(shard.file)}: {counts}")


def _check_files(folder: Path, shards: Sequence[dict[str, Any]]) -> None:
    expected = {shard["file"]: shard["sha256"] for shard in shards}
    present = {path.name for path in folder.glob("*.parquet")}
    for name in sorted(present ^ expected.keys()):
        fault = "missing" if name in expected else "not in the manifest"
        raise CorruptShard(f"{folder / name}: {fault}. Delete {folder} and run `dvc checkout`.")
    for name, checksum in expected.items():
        path = folder / name
        try:
            found = files.sha256(path)
        except OSError as error:
            raise CorruptShard(f"{path}: {error.strerror}. Delete it and run `dvc checkout`.") from None
        if found != checksum:
            raise CorruptShard(f"{path}: checksum differs. Delete it and run `dvc checkout`.")


_COLUMNS = {
    "episode": pa.int32(),
    "step": pa.int16(),
    "reward": pa.float32(),
    "missed": pa.int16(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
}


def _check_schema(schema: pa.Schema) -> None:
    """Raises ValueError unless the columns are those that `Writer` writes."""
    names = sorted(schema.names)
    if not set(names) & _OBSERVATIONS or set(names) - _OBSERVATIONS != {*_COLUMNS, "action"}:
        raise ValueError(f"found the columns {errors.listed(names)}, wanted those of drives")
    widths = {name: _width(schema.field(name).type) for name in names if name not in _COLUMNS}
    scalars = all(schema.field(name).type == kind for name, kind in _COLUMNS.items())
    frame_fits = widths.get("frame", FRAME_BYTES) == FRAME_BYTES
    if len(set(names)) != len(names) or not scalars or widths["action"] != 3 or not frame_fits:
        raise ValueError(f"found columns of other types: {errors.shown(str(schema))}")


def _width(kind: pa.DataType) -> int:
    """Numbers a row of a column: bytes of a frame, floats of a list. Raises ValueError for any other."""
    if isinstance(kind, pa.FixedSizeBinaryType):
        return kind.byte_width
    floats = isinstance(kind, pa.FixedSizeListType) and kind.value_type == pa.float32()
    if floats and 1 <= kind.list_size <= MOST_NUMBERS:
        return kind.list_size
    raise ValueError(f"found a column of {errors.shown(str(kind))}, wanted frames or floats")


def _check_row_group(group: Any, record: Record) -> None:
    """Raises ValueError, before any row is read, unless the row group has the record's length."""
    if group.num_rows != record.length or group.total_byte_size > ROW_GROUP_BYTES:
        found = f"{group.num_rows} rows, {group.total_byte_size} bytes"
        raise ValueError(f"row group {record.row_group}: found {found}, wanted {record.length} rows")


def _check_values(episode: Episode) -> None:
    """Raises ValueError for floats that are not finite."""
    columns = {**episode.observations, "action": episode.actions, "reward": episode.rewards}
    for name, values in columns.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"row group {episode.record.row_group}: {name} holds values that are not finite")


def _column(values: np.ndarray) -> pa.Array:
    """One row a step: bytes for frames, fixed-size lists for other arrays, else scalars."""
    if values.ndim == 1:
        return pa.array(values)
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    if values.dtype == np.uint8:
        kind = pa.binary(flat.shape[1])
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def _to_table(episode: Episode) -> pa.Table:
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


def _from_table(record: Record, table: pa.Table) -> Episode:
    if any(column.null_count for column in table.columns):
        raise ValueError(f"row group {record.row_group}: values are missing")
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    observations = {name: _array(columns[name]) for name in columns.keys() & _OBSERVATIONS}
    return Episode(
        record=record,
        observations=observations,
        actions=_array(columns["action"]),
        rewards=_array(columns["reward"]),
        missed=_array(columns["missed"]),
        terminated=_array(columns["terminated"]),
        truncated=_array(columns["truncated"]),
    )


_OBSERVATIONS = {"frame", "mu", "logvar"}


def _array(column: Any) -> np.ndarray:
    if isinstance(column, pa.FixedSizeBinaryArray):
        values = np.frombuffer(column.buffers()[1], np.uint8)
        values = values[column.offset * column.type.byte_width :]
        return values[: len(column) * column.type.byte_width].reshape(len(column), 64, 64, 3)
    if isinstance(column, pa.FixedSizeListArray):
        return column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)
