"""Filters, cuts and mirrors the scripted drivers' drives, sets tracks aside: `python -m stages process`."""

from wm.data.processing import Processing, check_sides
from wm.data.shards import Shards, Writer
from wm.params.model import Params
from wm.params.names import INIT
from wm.runtime import files
from wm.runtime.places import PROCESSED, RAW
from wm.runtime.progress import progress


def main(params: Params) -> None:
    processing, timing = Processing(**params.process.model_dump()), params.environment.timing
    shards = {source: Shards(RAW / source) for source in params.collect}
    for each in shards.values():
        each.expect_frames()
    records = {source: processing.filtered(source, each.records) for source, each in shards.items()}
    check_sides(
        [record for each in records.values() for record in each], {True: "validation", False: "training"}
    )
    with files.replacing(PROCESSED / INIT) as folder:
        writer = Writer(folder, INIT)
        for source, each in shards.items():
            for record in progress(records[source], f"process {source}", len(records[source])):
                for episode in processing.episodes(each, record, timing):
                    writer.write(episode)
        writer.finish()
