"""Whole episodes in Parquet shards: one row a step, one row group an episode, a manifest written last."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from wm.data.episode import Episode
from wm.data.shards import Shards, Writer
from wm.errors import BadInput
from wm.runtime import files
from wm.runtime.progress import going_on

Task = TypeVar("Task")


PART = 10  # episodes that are put by together; as many as an agent drives side by side


def put_by(
    folder: Path, tasks: Sequence[Task], drive: Callable[[Sequence[Task]], Iterator[Episode]]
) -> Iterator[Episode]:
    """The episodes that `drive` makes of the tasks, one each and in their order; those of an earlier,
    interrupted call with the same folder are read from it instead, `PART` by `PART`.

    A part that is damaged is told of on standard error, and made again.
    """
    done = 0
    while done < len(tasks) and (part := _part(folder / f"{done:06}")):
        yield from part
        done += len(part)
    going_on("drives", done, len(tasks))
    driven, waiting = drive(tasks[done:]), []
    for episode in driven:
        waiting.append(episode)
        if len(waiting) == PART:
            _put(folder / f"{done:06}", waiting)
            done, waiting = done + PART, []
        yield episode


def _put(folder: Path, some: list[Episode]) -> None:
    with files.replacing(folder) as unfinished:
        writer = Writer(unfinished, "part")
        for episode in some:
            writer.write(episode)
        writer.finish()


def _part(folder: Path) -> list[Episode]:
    """The episodes put by in a folder; none where there is no such folder, or it is damaged."""
    if not folder.exists():
        return []
    try:
        shards = Shards(folder)
        return [
            replace(shards.read(record), record=replace(record, episode=0, shard="", row_group=-1))
            for record in shards.records
        ]
    except BadInput as error:
        sys.stderr.write(f"warning: {error} Making its drives again.\n")
        return []
