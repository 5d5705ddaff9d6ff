"""Checks and converts recorded drives: `python -m stages import_drives SOURCE`."""

from pathlib import Path

from wm.data.shards import Writer
from wm.errors import BadInput
from wm.params.model import Params
from wm.runtime import files
from wm.runtime.places import RAW
from wm.runtime.progress import progress
from wm.track import recorded


def main(params: Params, source: str) -> None:
    settings, timing = params.recorded[source], params.environment.timing
    first, count = params.evaluate.seed, params.evaluate.episodes
    evaluated = range(first, first + count)
    numbers: dict[int, int] = {}  # by recorded seed: drives on one track stay on one side of the split
    tracks = set()
    drives = recorded.read(Path(settings.path), settings.episodes, timing)
    with files.replacing(RAW / source) as folder:
        writer = Writer(folder, source)
        for i, drive in enumerate(progress(drives, f"import {source}", settings.episodes), settings.seed):
            if drive.seed in evaluated:
                taken = f"expected none of {first} to {first + count - 1}, evaluate's tracks"
                raise BadInput(f"{drive.place}: seed: found {drive.seed}, {taken}")
            number = i if drive.seed is None else numbers.setdefault(drive.seed, i)
            writer.write(recorded.episode(drive, number, source, timing))
            tracks.add(number)
        if len(tracks) == 1:
            found = f"found {settings.episodes} drives on one track, expected at least two tracks"
            remedy = "since validation takes one. Without `seed`, every drive counts as a track"
            raise BadInput(f"{settings.path}: seed: {found}, {remedy}.")
        writer.finish()
