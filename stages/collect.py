"""Collects drives of a scripted driver from the real environment: `python -m stages.collect erratic`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from wm import config, files, parallel, rollout, scratch
from wm.car_racing import FPS, RealTrack
from wm.drivers import Driver, Erratic, LaneFollower, LaneStyle
from wm.episodes import Episode, Writer, put_by
from wm.progress import progress

RAW = Path("data/raw")


def lane_follower(rng: np.random.Generator, step_seconds: float) -> Driver:
    return LaneFollower(LaneStyle.random(rng), rng, step_seconds)


def erratic(rng: np.random.Generator, step_seconds: float) -> Driver:
    return Erratic(rng)


DRIVERS: dict[str, Callable[[np.random.Generator, float], Driver]] = {
    "lane_follower": lane_follower,
    "erratic": erratic,
}


class Config(config.Section):
    seed: NonNegativeInt  # of the first track; the others follow
    episodes: PositiveInt


def check_driver(name: str) -> None:
    """Refuses a name that no driver has."""
    if name not in DRIVERS:
        known = ", ".join(DRIVERS)
        raise config.BadInput(f"{config.PARAMS}: collect: found {name!r}, wanted one of {known}")


def episode(task: tuple[str, config.Environment, int]) -> Episode:
    """One drive; the track and the driver's whims both follow from the seed alone."""
    source, environment, seed = task
    track = RealTrack(environment.action_repeat, environment.warm_up_frames)
    driver = DRIVERS[source](np.random.default_rng(seed), environment.action_repeat / FPS)
    return rollout.drive(track, driver, seed, source)


def main(source: str) -> None:
    check_driver(source)
    settings = config.section(Config, "collect", source)
    environment = config.section(config.Environment, "environment")
    tasks = [(source, environment, settings.seed + i) for i in range(settings.episodes)]
    compute = config.section(parallel.Compute, "compute")

    def driven(some: Sequence[tuple[str, config.Environment, int]]) -> Iterator[Episode]:
        with parallel.pool(compute) as pool:
            yield from parallel.ordered(pool, episode, some)

    params, stage = [settings.model_dump(), environment.model_dump()], f"collect {source}"
    with scratch.folder(stage, params, []) as unfinished, files.replacing(RAW / source) as folder:
        writer = Writer(folder, source)
        for drive in progress(put_by(unfinished, tasks, driven), stage, len(tasks)):
            writer.write(drive)
        writer.finish()


if __name__ == "__main__":
    config.run_stage(main, *sys.argv[1:])
