"""A folder of drives as a Minari dataset, the Farama Foundation's form of recorded episodes."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wm.data.episode import Record
from wm.data.shards import Shards
from wm.errors import BadInput
from wm.params import file
from wm.params.environment import Environment
from wm.runtime import files
from wm.runtime.progress import progress
from wm.spec import FRAME_SHAPE

LOWEST, HIGHEST = np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)
TOLD = ("source", "score", "warm_up_reward", "lap_finished", "mirrored", "validation")


def export(source: Path, root: Path | None) -> Path:
    """Writes the kept drives of `source` as a dataset below `root` (None: Minari's own); returns its folder.

    One drive at a time is in memory. The folder's name is the dataset's id, which `minari.load_dataset`
    finds where MINARI_DATASETS_PATH names `root`.

    Raises BadInput where Minari is missing, `source` holds no frames, or `root` cannot be written.
    """
    if importlib.util.find_spec("minari") is None:
        raise BadInput("export-dataset: minari is not installed. Run `uv sync --extra minari`.")
    from minari.storage.datasets_root_dir import get_dataset_path

    environment = file.load().environment
    shards = Shards(source)
    check_frames(shards)
    path = (root or get_dataset_path()).resolve() / dataset_id(source)  # Minari's own sums need it absolute
    try:
        with files.replacing(path) as unfinished:
            write(unfinished, shards, environment, path.name)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, wanted a place to write to") from None
    return path


def dataset_id(source: Path) -> str:
    """What Minari calls the drives of `source`. Raises BadInput where its name cannot be part of an id."""
    from minari.dataset.minari_dataset import parse_dataset_id

    *_, kind, name = source.resolve().parts
    found = f"car-racing-{kind}-{name}-v0"
    try:
        parse_dataset_id(found)
    except ValueError:
        raise BadInput(f"{source}: found {found!r} as id, wanted a folder with a plain name") from None
    return found


def check_frames(shards: Shards) -> None:
    """Refuses drives without pictures, or none at all."""
    records = shards.kept()
    found = list(shards.read(records[0]).observations) if records else "no drives"
    if found != ["frame"]:
        raise BadInput(f"{shards.folder}: found {found}, wanted frames: data/raw or data/processed")


def write(folder: Path, shards: Shards, environment: Environment, name: str) -> None:
    """The dataset's files in `folder`.

    CarRacing-v3's own spec would be wrong here: it shows other pictures and acts every frame. So the
    spaces are given, and how the drives were made stands in the metadata.
    """
    from gymnasium import spaces
    from minari import __version__
    from minari.dataset.minari_storage import MinariStorage

    folder.mkdir()
    storage = MinariStorage.new(
        folder / "data",
        observation_space=spaces.Box(0, 255, FRAME_SHAPE, np.uint8),
        action_space=spaces.Box(LOWEST, HIGHEST),
        data_format="parquet",
        jpeg_encoding=False,  # it would change the pictures
    )
    made_with: dict[str, Any] = {
        "dataset_id": name,
        "minari_version": __version__,
        "description": description(environment),
        "environment": {"id": "CarRacing-v3", **environment.model_dump()},
    }
    storage.update_metadata(made_with)
    records = shards.kept()
    storage.update_episodes(progress(buffers(shards, records), "export", len(records)))
    told = [{field: getattr(record, field) for field in TOLD} for record in records]
    storage.update_episode_metadata(told, range(len(records)))


def buffers(shards: Shards, records: list[Record]) -> Iterator[Any]:
    """The drives as Minari takes them, one by one.

    It wants a picture after the last action, which no drive holds: the last one stands for it. Infos
    begin with the reset's.
    """
    from minari.data_collector.episode_buffer import EpisodeBuffer

    for number, record in enumerate(records):
        episode = shards.read(record)
        frames = episode.observations["frame"]
        columns: dict[str, Any] = {  # arrays, which Minari's hints do not know but its storage does
            "observations": np.concatenate([frames, frames[-1:]]),
            "actions": episode.actions,
            "rewards": episode.rewards,
            "terminations": episode.terminated,
            "truncations": episode.truncated,
            "infos": {"missed": [0, *episode.missed.tolist()]},
        }
        yield EpisodeBuffer(id=number, seed=record.seed, **columns)


def description(environment: Environment) -> str:
    """What a reader of the dataset must know."""
    return (
        "Drives on Gymnasium's CarRacing-v3. Observations are its pictures without the instruments,"
        " averaged down to 64 x 64. An action (steering, gas, brake) is held for"
        f" {environment.action_repeat} frames and its reward is their sum; the first"
        f" {environment.warm_up_frames} frames, straight on at half gas, are left out. A termination is a"
        " failure (the car left the playfield); a lap finished or 1,000 frames gone are truncations. `missed`"
        " among the infos counts tiles gone past untouched. The observation after the last action repeats"
        " the one before it. A mirrored drive is its twin turned left to right, its steering negated; its"
        " seed is the twin's."
    )
