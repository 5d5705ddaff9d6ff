"""A folder of drives as a Minari dataset, the Farama Foundation's format of recorded episodes.

Why MinariStorage is used directly: `minari.create_dataset_from_buffers` takes all episodes as one list, at
12 KB a step, and writes them straight to Minari's root, where a failed export would leave a part of them.
`minari.DataCollector` needs a running environment.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from wm.data.episode import Record
from wm.data.shards import Shards
from wm.errors import BadInput
from wm.export.output import replacing
from wm.packaged import installing
from wm.params import file
from wm.runtime.progress import progress
from wm.spec import Timing
from wm.track.spaces import action_space, frame_space

RECORD_FIELDS = ("source", "score", "warm_up_reward", "lap_finished", "mirrored", "validation")


def export(source: Path, root: Path | None) -> Path:
    """Writes the kept drives of `source` as a dataset in `root` (None: Minari's root); returns its folder.

    One drive at a time is in memory. The folder's name is the dataset's id for `minari.load_dataset`, with
    MINARI_DATASETS_PATH set to `root`.

    Raises BadInput where Minari is missing, `source` contains no frames, or `root` cannot be written.
    """
    if importlib.util.find_spec("minari") is None:
        raise BadInput(f"export-dataset: minari is not installed. {installing('minari')}")
    from minari.storage.datasets_root_dir import get_dataset_path

    timing = file.timing()
    shards = Shards(source)
    check_frames(shards)
    # Minari compares it with absolute paths
    path = (root or get_dataset_path()).resolve() / dataset_id(source)
    with replacing(path) as unfinished:
        write(unfinished, shards, timing, path.name)
    return path


def dataset_id(source: Path) -> str:
    """The dataset's id. Raises BadInput where the folder's name cannot be part of one."""
    from minari.dataset.minari_dataset import parse_dataset_id

    *_, kind, folder = source.resolve().parts
    name = f"car-racing-{kind}-{folder}-v0"
    try:
        parse_dataset_id(name)
    except ValueError:
        raise BadInput(
            f"{source}: id: found {name!r}, expected a folder name of letters, digits, - and _"
        ) from None
    return name


def check_frames(shards: Shards) -> None:
    """Raises BadInput unless the drives contain frames."""
    observations = list(shards.read(shards.kept()[0]).observations)
    if observations != ["frame"]:
        expected = "expected frames, as in data/raw or data/processed"
        raise BadInput(f"{shards.folder}: observations: found {observations}, {expected}")


def write(folder: Path, shards: Shards, timing: Timing, name: str) -> None:
    """Writes the dataset's files to `folder`; the metadata describe how the drives were made."""
    from minari import __version__
    from minari.dataset.minari_storage import MinariStorage

    folder.mkdir()
    storage = MinariStorage.new(
        folder / "data",
        observation_space=frame_space(),
        action_space=action_space(),
        env_spec=environment(timing),
        data_format="parquet",
        jpeg_encoding=False,  # JPEG changes pixels
    )
    metadata: dict[str, Any] = {
        "dataset_id": name,
        "minari_version": __version__,
        "description": description(timing),
        "environment": {"id": "CarRacing-v3", **asdict(timing)},
    }
    storage.update_metadata(metadata)
    records = shards.kept()
    storage.update_episodes(progress(buffers(shards, records), "export", len(records)))
    fields = ({field: getattr(record, field) for field in RECORD_FIELDS} for record in records)
    storage.update_episode_metadata(fields, range(len(records)))


def environment(timing: Timing) -> EnvSpec:
    """What `dataset.recover_environment` makes: the real track with the frames and actions of the drives."""
    options = {"observation": "pixels", **asdict(timing)}
    return EnvSpec("RealCarRacing-v0", "wm.envs.track:RealCarRacing", kwargs=options)


def buffers(shards: Shards, records: list[Record]) -> Iterator[Any]:
    """The drives as Minari's episodes, one at a time.

    Minari needs an observation after the last action, which drives do not have: the last one is repeated.
    Infos begin with that of the reset.
    """
    from minari.data_collector.episode_buffer import EpisodeBuffer

    for number, record in enumerate(records):
        episode = shards.read(record)
        frames = episode.observations["frame"]
        columns: dict[str, Any] = {  # arrays: not in Minari's type hints, but accepted by its storage
            "observations": np.concatenate([frames, frames[-1:]]),
            "actions": episode.actions,
            "rewards": episode.rewards,
            "terminations": episode.terminated,
            "truncations": episode.truncated,
            "infos": {"missed": [0, *episode.missed.tolist()]},
        }
        yield EpisodeBuffer(id=number, seed=record.seed, **columns)


def description(timing: Timing) -> str:
    """The text that explains the dataset to its users."""
    return (
        "Drives on Gymnasium's CarRacing-v3. Observations are its frames without the instruments, averaged"
        f" to 64 x 64. An action (steering, gas, brake) is held for {timing.action_repeat} frames; its"
        f" reward is their sum; the first {timing.warm_up_frames} frames, driven straight ahead at half"
        " gas, are omitted. A termination is a failure (the car left the playfield); a finished lap and the"
        " end of the 1,000 frames are truncations. The info `missed` counts newly missed tiles. The"
        " observation after the last action repeats the one before it. A mirrored drive is a copy flipped"
        " left to right, its steering negated; it has the seed of the original."
    )
