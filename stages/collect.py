"""Collects drives of a scripted driver on real tracks: `python -m stages collect DRIVER`."""

from collections.abc import Iterator, Sequence

import numpy as np

from wm.data.episode import Episode
from wm.data.resumable import resumable_episodes
from wm.data.shards import Writer
from wm.params.model import Params
from wm.runtime import files, scratch, workers
from wm.runtime.places import RAW
from wm.runtime.progress import Progress
from wm.spec import FPS, Timing
from wm.track import rollout
from wm.track.drivers import DRIVERS
from wm.track.real_track import RealTrack


def episode(task: tuple[str, Timing, int]) -> Episode:
    """One drive; the seed alone determines the track and the driver's random choices."""
    source, timing, seed = task
    track = RealTrack(timing.action_repeat, timing.warm_up_frames)
    driver = DRIVERS[source](np.random.default_rng(seed), timing.action_repeat / FPS)
    return rollout.drive_alone(track, driver, seed, source)


def main(params: Params, source: str) -> None:
    settings = params.collect[source]
    timing = params.environment.timing
    seeds = range(settings.seed, settings.seed + settings.episodes)
    compute, stage = params.compute, f"collect {source}"
    shown = Progress(stage, len(seeds))

    def driven(left: Sequence[int]) -> Iterator[Episode]:
        tasks = ((source, timing, seed) for seed in left)
        with workers.pool(compute.scheduler, compute.workers) as pool:
            for drive in workers.ordered(pool, episode, tasks):
                shown.drove(timing.frames_of(drive))
                yield drive

    values = [settings.model_dump(), params.environment.model_dump()]
    with scratch.folder(stage, values, []) as unfinished, files.replacing(RAW / source) as folder:
        writer = Writer(folder, source)
        for drive in shown.over(resumable_episodes(unfinished, seeds, driven), timing.frames_of):
            writer.write(drive)
        writer.finish()
