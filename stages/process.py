"""Filters drives by score, mirrors them and sets tracks aside: `python -m stages process [ROUND]`.

Without a round it reads the scripted drivers' data, with one what the agent of that round explored.
"""

from dataclasses import replace

import numpy as np

from wm.data.episode import Record, mirror
from wm.data.shards import Shards, Writer
from wm.errors import BadInput
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.params.process import Process
from wm.params.rounds import INIT
from wm.runtime import files
from wm.runtime.places import PROCESSED, RAW
from wm.runtime.progress import progress


def set_aside(records: list[Record], share: float, seed: int) -> set[int]:
    """The track seeds of the validation split: at least one, `share` of all."""
    seeds = sorted({record.seed for record in records})
    count = max(1, round(share * len(seeds)))
    return set(np.random.default_rng(seed).permutation(seeds)[:count].tolist())


def marked(source: str, shards: Shards, settings: Process) -> list[Record]:
    """A source's episodes, marked with what is kept, and with the side of the split that they are on.

    Raises BadInput where the filter keeps nothing.
    """
    least = settings.min_score.get(source, -np.inf)
    validation = set_aside(shards.records, settings.validation_share, settings.seed)
    records = [
        replace(record, kept=record.score > least, validation=record.seed in validation)
        for record in shards.records
    ]
    if not any(record.kept for record in records):
        place = f"{PARAMS}: process.min_score.{source}"
        raise BadInput(f"{place}: no episode scores above {least}; they score {scores(records)}")
    return records


def scores(records: list[Record]) -> str:
    """What the first twenty score."""
    return ", ".join(f"{record.score:.0f}" for record in records[:20])


def check_sides(records: list[Record], sides: dict[bool, str]) -> None:
    """Refuses a filter that leaves one side of the validation split without any episode."""
    for side, name in sides.items():
        some = [record for record in records if record.validation == side]
        if not any(record.kept for record in some):
            found = f"no episode for {name} is left; they score {scores(some)}"
            raise BadInput(f"{PARAMS}: process.min_score, or validation_share: {found}")


def main(params: Params, round_name: str | None = None) -> None:
    settings = params.process
    sources = [round_name] if round_name else list(params.collect)
    name = round_name or INIT
    shards = {source: Shards(RAW / source) for source in sources}
    for one in shards.values():
        one.expect_frames()
    episodes = {source: marked(source, one, settings) for source, one in shards.items()}
    sides = {True: "validation"} if round_name else {True: "validation", False: "training"}
    check_sides([record for records in episodes.values() for record in records], sides)
    with files.replacing(PROCESSED / name) as folder:
        writer = Writer(folder, name)
        for source, records in episodes.items():
            process(source, shards[source], records, settings, writer)
        writer.finish()


def process(source: str, shards: Shards, records: list[Record], settings: Process, writer: Writer) -> None:
    """All of one source's episodes, each followed by its mirrored twin."""
    for record in progress(records, f"process {source}", len(records)):
        episode = shards.read(record)
        writer.write(episode)
        if settings.mirror and episode.record.kept:
            writer.write(mirror(episode))
