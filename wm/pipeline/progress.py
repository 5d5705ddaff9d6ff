"""How much of an interrupted or running stage's work its scratch folder holds."""

import json
import re
from pathlib import Path

from wm.params.model import Params
from wm.pipeline import work
from wm.runtime import scratch

EPISODES_PER_PART = 10  # as in wm.data.resumable, which is heavy to import
CLOCK_SECONDS = 1.0  # by which times of files may lie behind the clock


def share_done(params: Params, name: str, since: float) -> float | None:
    """The share of a stage's work that is saved; None if nothing tells it.

    `since` are the seconds since 1970 at which its last run began: older folders are of other parameters.
    """
    stage, _, key = name.partition("@")
    folders = [
        (path.stat().st_mtime, path.parent)
        for path in Path(scratch.FOLDER).glob("*/lock")
        if re.fullmatch(f"{'-'.join(filter(None, (stage, key)))}-[0-9a-f]{{16}}(-\\d+)?", path.parent.name)
    ]
    if not folders or max(folders)[0] < since - CLOCK_SECONDS:
        return None
    return _share_done(params, stage, key, max(folders)[1])


def _share_done(params: Params, stage: str, key: str, folder: Path) -> float | None:
    if stage in ("collect", "evaluate", "explore"):
        parts = len(list(folder.glob("[0-9]" * 6)))
        return min(1, parts * EPISODES_PER_PART / work.units(params, f"{stage}@{key}"))  # fewer in the last
    if stage == "evolve":
        schedule, shares = params.evolve.searches(work.rounds_before(params, key))
        lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("journal-*.jsonl"))
        return lines / (schedule.generations * len(shares))
    if stage == "train_vae":
        return _trained(folder, 1, params.train_vae.steps)
    if stage == "train_rnn":
        return _trained(folder, 1 + params.initialise.simulators, work.rnn_steps(params, key))
    return None


def _trained(folder: Path, models: int, steps: int) -> float:
    """The share of the gradient steps of all models in their newest checkpoints."""
    return sum(map(_step, folder.glob("*/newest"))) / (models * steps)


def _step(checkpoint: Path) -> int:
    """The gradient step of a checkpoint; 0 if it cannot be read."""
    try:
        with checkpoint.open("rb") as file:
            return int(json.loads(file.readline())["notes"]["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
