"""Episodes saved in a stage's scratch folder while it drives, so that an interrupted stage resumes."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from wm.data.episode import Episode
from wm.data.shards import Shards, Writer
from wm.errors import BadInput
from wm.runtime import files
from wm.runtime.progress import report_resumed

Task = TypeVar("Task")

EPISODES_PER_PART = 10  # saved together


def resumable_episodes(
    folder: Path, tasks: Sequence[Task], drive: Callable[[Sequence[Task]], Iterator[Episode]]
) -> Iterator[Episode]:
    """One episode per task, in order, made by `drive`; those that an earlier, interrupted call saved in
    `folder` are read from it instead.

    A damaged part is reported on standard error, and its episodes are driven again.
    """
    done = 0
    while done < len(tasks) and (part := _read_part(folder / f"{done:06}")):
        yield from part
        done += len(part)
    report_resumed("drives", done, len(tasks))
    unsaved: list[Episode] = []
    for episode in drive(tasks[done:]):
        unsaved.append(episode)
        if len(unsaved) == EPISODES_PER_PART:
            _write_part(folder / f"{done:06}", unsaved)
            done, unsaved = done + EPISODES_PER_PART, []
        yield episode
    if unsaved:
        _write_part(folder / f"{done:06}", unsaved)


def saved_episode(folder: Path, number: int) -> Episode:
    """An episode that `resumable_episodes`, now at its end, has saved. Raises BadInput."""
    first = number // EPISODES_PER_PART * EPISODES_PER_PART
    shards = Shards(folder / f"{first:06}")
    return shards.read(shards.records[number - first])


def _write_part(folder: Path, episodes: list[Episode]) -> None:
    with files.replacing(folder) as unfinished:
        writer = Writer(unfinished, "part")
        for episode in episodes:
            writer.write(episode)
        writer.finish()


def _read_part(folder: Path) -> list[Episode]:
    """The episodes of a part; none where it does not exist or is damaged."""
    if not folder.exists():
        return []
    try:
        shards = Shards(folder)
        return [
            replace(shards.read(record), record=replace(record, episode=0, shard="", row_group=-1))
            for record in shards.records
        ]
    except BadInput:
        sys.stderr.write(f"warning: {folder}: damaged; driving its episodes again\n")
        return []
