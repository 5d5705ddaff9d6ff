"""Recorded drives, from .npz files or a Minari dataset, checked and converted to episodes."""

import importlib.util
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wm.data.episode import Episode, Record
from wm.errors import BadInput, listed, shown
from wm.packaged import installing
from wm.spec import (
    ACTION_HIGH,
    ACTION_LOW,
    ACTION_SIZE,
    FAILURE_REWARD,
    FRAME_REWARD,
    FRAME_SHAPE,
    LAP_POINTS,
    Timing,
)
from wm.track.renderer import shrink

PIXELS_SHAPE = (96, 96, 3)
COLUMNS = ("frames", "actions", "rewards", "terminated", "truncated")
OPTIONAL = ("missed", "warm_up_reward", "seed")
ENVIRONMENT = re.compile(r"CarRacing-v\d+|RealCarRacing-v\d+")
TILE_POINTS = 1.0  # less than any tile is worth
MOST_TILES = 1000  # more than any track has
ROUNDING = 1e-3  # points
POSSIBLE = f"at most {LAP_POINTS:.0f} points, those of a lap"
UNREADABLE = (  # what NumPy, zipfile and Minari raise on damaged files
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Drive:
    """A drive as it was recorded: row t has the frame before action t, and what the action brought.

    `place` names it in messages. `missed` None stands for unknown, `seed` None for an unknown track.
    """

    place: str
    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    missed: np.ndarray | None = None
    warm_up_reward: Any = 0.0
    seed: Any = None
    lap_finished: bool = False


def read(folder: Path, count: int, timing: Timing) -> Iterator[Drive]:
    """The first `count` drives of a folder, checked, one at a time. Raises BadInput, also for fewer."""
    dataset = (folder / "data" / "metadata.json").exists()
    if not dataset and not any(folder.glob("*.npz")):
        expected = "expected .npz files, one per drive, or a Minari dataset with its data/metadata.json"
        raise BadInput(f"{folder}: found no drives, {expected}")
    drives = _minari(folder, timing) if dataset else map(_npz, sorted(folder.glob("*.npz")))
    number = 0
    for drive in islice(drives, count):
        check(drive, timing)
        yield drive
        number += 1
    if number < count:
        raise BadInput(
            f"{folder}: found {number} drives, expected the {count} of its `episodes` in params.yaml"
        )


def _npz(path: Path) -> Drive:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except UNREADABLE as error:
        expected = "expected intact arrays of numbers, as np.savez writes them"
        raise BadInput(f"{path}: found {shown(str(error) or type(error).__name__)}, {expected}") from None
    missing, unknown = set(COLUMNS) - arrays.keys(), arrays.keys() - {*COLUMNS, *OPTIONAL}
    if missing or unknown:
        expected = f"expected {listed(COLUMNS)}, and perhaps {listed(OPTIONAL)}"
        raise BadInput(f"{path}: found arrays {shown(listed(arrays))}, {expected}")
    for name, array in arrays.items():
        _expect(isinstance(array, np.ndarray), path, name, "other bytes", "an array in NumPy's format")
    for name in ("warm_up_reward", "seed"):
        if name in arrays:
            _expect(arrays[name].shape == (), path, name, f"shape {arrays[name].shape}", "one number")
            arrays[name] = arrays[name].item()
    return Drive(str(path), **arrays)


def _minari(folder: Path, timing: Timing) -> Iterator[Drive]:
    """The drives that are no mirror images: `process` makes those."""
    if importlib.util.find_spec("minari") is None:
        raise BadInput(
            f"{folder}: minari, which reads this dataset, is not installed. {installing('minari')}"
        )
    from minari import MinariDataset

    try:
        dataset = MinariDataset(folder / "data")
        environment = dataset.env_spec.id if dataset.env_spec else "no environment"
        recorded = dataset.storage.metadata.get("environment", asdict(timing))
        _expect(ENVIRONMENT.fullmatch(environment), folder, "environment", environment, "CarRacing")
        timed = {name: recorded.get(name) for name in asdict(timing)}
        _expect(timed == asdict(timing), folder, "environment", timed, f"{asdict(timing)}, as in params.yaml")
        numbers = dataset.episode_indices
        for number, fields in zip(numbers, dataset.storage.get_episode_metadata(numbers), strict=True):
            if not fields.get("mirrored"):
                yield _episode(f"{folder}: episode {number}", dataset[number], fields)
    except ImportError as error:
        raise BadInput(f"{folder}: {error}") from None  # Minari says what to install
    except UNREADABLE as error:
        found = shown(str(error) or type(error).__name__)
        raise BadInput(f"{folder}: found {found}, expected an intact Minari dataset") from None


def _episode(place: str, episode: Any, fields: dict[str, Any]) -> Drive:
    """Minari's episode, whose observations end with one after the last action."""
    infos = episode.infos or {}
    return Drive(
        place,
        np.asarray(episode.observations)[:-1],
        np.asarray(episode.actions),
        np.asarray(episode.rewards),
        np.asarray(episode.terminations),
        np.asarray(episode.truncations),
        np.asarray(infos["missed"])[1:] if "missed" in infos else None,
        fields.get("warm_up_reward", 0.0),
        fields.get("seed"),
        bool(fields.get("lap_finished", False)),
    )


def _expect(fits: Any, place: Any, name: str, found: Any, expected: str) -> None:
    if not fits:
        raise BadInput(f"{place}: {name}: found {found}, expected {expected}")


def episode(drive: Drive, seed: int, source: str, timing: Timing) -> Episode:
    """The drive, which `read` has checked, as an episode on the track `seed`.

    `terminated` may be Gymnasium's, true for a finished lap, too.
    """
    length, ended = len(drive.rewards), bool(drive.terminated[-1])
    failed = ended and bool(drive.rewards[-1] < FAILURE_REWARD / 2)
    last = np.arange(length) == length - 1
    small = drive.frames.shape[1:] == FRAME_SHAPE
    missed = np.zeros(length) if drive.missed is None else drive.missed
    return Episode(
        Record(
            episode=0,
            seed=seed,
            source=source,
            length=length,
            score=round(float(drive.warm_up_reward + drive.rewards.sum(dtype=np.float64)), 4),
            warm_up_reward=round(float(drive.warm_up_reward), 4),
            lap_finished=drive.lap_finished or (ended and not failed),
        ),
        {"frame": drive.frames if small else np.stack([shrink(pixels) for pixels in drive.frames])},
        drive.actions.astype(np.float32),
        drive.rewards.astype(np.float32),
        missed.astype(np.int16),
        last & failed,
        last & (not failed),
    )


def check(drive: Drive, timing: Timing) -> None:
    """Raises BadInput for the first thing about the drive that cannot be."""
    place, steps = drive.place, len(np.atleast_1d(drive.rewards))
    longest = f"1 to {timing.max_steps} actions of {timing.action_repeat} frames after the warm-up"
    _expect(1 <= steps <= timing.max_steps, place, "rewards", f"{steps} steps", longest)
    frames = PIXELS_SHAPE if drive.frames.shape[1:] == PIXELS_SHAPE else FRAME_SHAPE
    _check_array(drive, "frames", ("uint8",), (steps, *frames))
    _check_array(drive, "actions", ("float32", "float64"), (steps, ACTION_SIZE))
    _check_array(drive, "rewards", ("float32", "float64"), (steps,))
    for name in ("terminated", "truncated"):
        _check_array(drive, name, ("bool",), (steps,))
        ends = np.flatnonzero(getattr(drive, name)[:-1])
        _expect(
            not len(ends), place, name, f"true in row {ends[:1]}", f"it in row {steps - 1} at most, the last"
        )
    if drive.missed is not None:
        _check_array(drive, "missed", ("int16", "int32", "int64"), (steps,))
        bad = drive.missed[(drive.missed < 0) | (drive.missed > MOST_TILES)]
        _expect(not len(bad), place, "missed", bad[:1], "counts of tiles")
    number = isinstance(drive.warm_up_reward, int | float | np.number)
    possible = number and abs(drive.warm_up_reward) <= LAP_POINTS  # false for NaN
    _expect(possible, place, "warm_up_reward", shown(drive.warm_up_reward), f"a number, {POSSIBLE}")
    whole = drive.seed is None or isinstance(drive.seed, int | np.integer)
    _expect(whole, place, "seed", shown(drive.seed), "a whole number")
    _check_actions(drive)
    _check_rewards(drive, timing)


def _check_array(drive: Drive, name: str, kinds: tuple[str, ...], shape: tuple[int, ...]) -> None:
    array = getattr(drive, name)
    fits = array.dtype.name in kinds and array.shape == shape
    _expect(fits, drive.place, name, f"{array.dtype} {array.shape}", f"{' or '.join(kinds)} {shape}")


def _check_actions(drive: Drive) -> None:
    within = (drive.actions >= ACTION_LOW) & (drive.actions <= ACTION_HIGH)  # false for NaN
    if len(bad := np.flatnonzero(~within.all(axis=1))):
        found = f"found {drive.actions[bad[0]].tolist()} in row {bad[0]}"
        raise BadInput(
            f"{drive.place}: actions: {found}, expected steering in [-1, 1], gas and brake in [0, 1]"
        )


def _check_rewards(drive: Drive, timing: Timing) -> None:
    """An action earns the points of its frames and of its new tiles."""
    rewards, idle = drive.rewards, timing.idle_reward
    if len(bad := np.flatnonzero(~(np.abs(rewards) <= LAP_POINTS))):  # NaN, too
        _expect(False, drive.place, "rewards", f"{rewards[bad[0]]} in row {bad[0]}", f"numbers, {POSSIBLE}")
    above = rewards[:-1] - idle  # the last action may be cut short, or a failure
    bad = np.flatnonzero((above < -ROUNDING) | ((above > ROUNDING) & (above < TILE_POINTS)))
    if len(bad):
        reward = float(rewards[bad[0]])
        expected = (
            f"{idle:.1f} points, or more for a new tile, for an action of {timing.action_repeat} frames"
        )
        frames = reward / FRAME_REWARD
        hint = f"; environment.action_repeat may have been {frames:.0f}" if frames > 0.5 else ""
        raise BadInput(
            f"{drive.place}: rewards: found {reward:.2f} in row {bad[0]}, expected {expected}{hint}"
        )
