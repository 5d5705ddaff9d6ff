"""Filters drives by score, mirrors them, sets tracks aside: `python -m stages process [ROUND]`.

Without a round it reads the scripted drivers' drives, with a round those that its agent made for exploration.
"""

import numpy as np

from wm.data.episode import Record, mirror
from wm.data.shards import Shards, Writer
from wm.data.split import marked, validation_tracks
from wm.errors import BadInput
from wm.params.file import PARAMS
from wm.params.model import Params
from wm.params.names import INIT
from wm.params.process import Process
from wm.runtime import files
from wm.runtime.places import PROCESSED, RAW
from wm.runtime.progress import progress


def main(params: Params, round_name: str | None = None) -> None:
    settings = params.process
    sources = [round_name] if round_name else list(params.collect)
    name = round_name or INIT
    shards = {source: Shards(RAW / source) for source in sources}
    for each in shards.values():
        each.expect_frames()
    records = {source: filtered(source, each.records, settings) for source, each in shards.items()}
    sides = {True: "validation"} if round_name else {True: "validation", False: "training"}
    check_sides([record for each in records.values() for record in each], sides)
    with files.replacing(PROCESSED / name) as folder:
        writer = Writer(folder, name)
        for source in sources:
            for record in progress(records[source], f"process {source}", len(records[source])):
                episode = shards[source].read(record)
                writer.write(episode)
                if settings.mirror and record.kept:
                    writer.write(mirror(episode))
        writer.finish()


def filtered(source: str, records: list[Record], settings: Process) -> list[Record]:
    """A source's records, marked. Raises BadInput if the filter keeps none."""
    min_score = settings.min_score.get(source, -np.inf)
    tracks = validation_tracks(records, settings.validation_share, settings.seed)
    new = marked(records, min_score, tracks)
    if not any(record.kept for record in new):
        place = f"{PARAMS}: process.min_score.{source}: found {min_score}"
        raise BadInput(f"{place}, expected less than a drive scores; the scores are {scores(new)}")
    return new


def check_sides(records: list[Record], sides: dict[bool, str]) -> None:
    """Raises BadInput for a filter that leaves a side of the validation split without a drive."""
    for side, name in sides.items():
        on_side = [record for record in records if record.validation == side]
        if not any(record.kept for record in on_side):
            found = f"found no drive for {name}, expected one; the scores are {scores(on_side)}"
            raise BadInput(f"{PARAMS}: process.min_score, process.validation_share: {found}")


def scores(records: list[Record]) -> str:
    """The first twenty scores."""
    return ", ".join(f"{record.score:.0f}" for record in records[:20])
