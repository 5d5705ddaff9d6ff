"""The manifest of a folder of shards: the shards with rows and checksums, and a record per episode."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt

from wm import errors
from wm.data.episode import Record
from wm.errors import BadInput
from wm.params.section import Section, validated_json
from wm.runtime import files, places
from wm.spec import FRAMES_PER_EPISODE

MANIFEST = "manifest.json"
VERSION = 2


class CorruptShard(BadInput):
    """A folder of shards does not match its manifest; the message names the file and the remedy."""


def damaged(path: Path, fault: str) -> CorruptShard:
    """The error for a damaged file of a folder of shards, whose folder is restored as a whole."""
    return CorruptShard(f"{path}: {fault}. {remedy(path)}")


def remedy(path: Path) -> str:
    """What to do about a damaged file of a folder of shards."""
    return places.remedy(path.parent, otherwise=f"Copy {path.parent} again.")


class ShardEntry(Section):
    """A shard in the manifest."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.parquet$")]
    rows: NonNegativeInt
    row_groups: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Section):
    """The whole manifest."""

    version: int
    shards: list[ShardEntry]
    episodes: list[Record]


def write(folder: Path, shards: Sequence[ShardEntry], records: Sequence[Record]) -> None:
    """Writes the manifest, which makes the folder complete."""
    manifest = {
        "version": VERSION,
        "shards": [shard.model_dump() for shard in shards],
        "episodes": [asdict(record) for record in records],
    }
    files.write_json(folder / MANIFEST, manifest)


def read(folder: Path) -> Manifest:
    """The manifest, after checking it and the folder's files.

    Raises CorruptShard where the manifest is damaged, of another version or contradicts itself, or a shard is
    missing, not listed, or has another checksum.
    """
    path = folder / MANIFEST
    if not path.exists():
        what = places.remedy(path, missing=True, otherwise="Name a folder of drives.")
        raise CorruptShard(f"{path}: not found. {what}")
    try:
        content = files.read_json(path)
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            found = f"found {errors.shown(version)}, expected {VERSION}"
            advice = "Check out the version of the code that wrote it"
            again = ", or run `dvc repro`" * places.of_pipeline(path)
            raise CorruptShard(f"{path}: version: {found}. {advice}{again}.")
        written = files.json_text(content)
        if written.encode() != path.read_bytes():
            raise damaged(path, "its bytes differ from those written")
        manifest = validated_json(Manifest, written, str(path))
        _check_entries(path, manifest)
    except CorruptShard:
        raise
    except BadInput as error:
        has_remedy = str(error).endswith(".")
        raise CorruptShard(str(error) if has_remedy else f"{error}. {remedy(path)}") from None
    _check_files(folder, manifest.shards)
    return manifest


def _check_entries(path: Path, manifest: Manifest) -> None:
    """Raises BadInput unless the episodes follow each other in the listed shards."""
    names = [shard.file for shard in manifest.shards]
    rows: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for i, record in enumerate(manifest.episodes):
        if record.episode != i or record.seed < 0 or not 1 <= record.length <= FRAMES_PER_EPISODE:
            found = f"found episode {record.episode}, seed {record.seed}, length {record.length}"
            expected = f"expected episode {i} of 1 to {FRAMES_PER_EPISODE} steps"
            raise BadInput(f"{path}: episodes.{i}: {found}, {expected}")
        if not record.kept:
            continue
        if record.shard not in names or record.row_group != groups[record.shard]:
            found = f"found row group {record.row_group} of {errors.shown(record.shard)}"
            raise BadInput(f"{path}: episodes.{i}: {found}, expected the next row group of a listed shard")
        rows[record.shard] += record.length
        groups[record.shard] += 1
    if len(set(names)) != len(names):
        raise BadInput(f"{path}: shards: found the same file twice, expected distinct files")
    for shard in manifest.shards:
        listed, expected = (shard.rows, shard.row_groups), (rows[shard.file], groups[shard.file])
        if listed != expected:
            counts = "found {} rows in {} groups, expected {} in {}".format(*listed, *expected)
            raise BadInput(f"{path}: {errors.shown(shard.file)}: {counts}")


def _check_files(folder: Path, shards: Sequence[ShardEntry]) -> None:
    expected = {shard.file: shard.sha256 for shard in shards}
    present = {path.name for path in folder.glob("*.parquet")}
    for name in sorted(present ^ expected.keys()):
        fault = "missing" if name in expected else "not in the manifest"
        raise damaged(folder / name, fault)
    for name, checksum in expected.items():
        path = folder / name
        try:
            actual = files.sha256(path)
        except OSError as error:
            raise damaged(path, str(error.strerror)) from None
        if actual != checksum:
            raise damaged(path, "checksum differs")
