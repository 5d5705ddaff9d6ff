"""Drives of a round's agent on fresh tracks, as data for the next: `python -m stages.explore r0`.

A third of the drives is the agent's own, a third with noise on its actions, and a third is driven
by snapshots of its evolution: what the search will try again, reality has then answered.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from wm import agent, config, files, scratch
from wm.agent import Drive, Models
from wm.episodes import Episode, Writer, put_by
from wm.parallel import Compute
from wm.progress import progress

RAW, MODELS = Path("data/raw"), Path("models")
SEEDS_PER_ROUND = 10_000


class Config(config.Section):
    seed: NonNegativeInt
    episodes: PositiveInt
    action_noise: NonNegativeFloat


def main(round_name: str) -> None:
    settings = config.section(Config, "explore")
    environment = config.section(config.Environment, "environment")
    compute = config.section(Compute, "compute")
    drives = plan(settings, len(config.rounds_until(round_name)))
    folder = MODELS / round_name
    models = Models(
        MODELS / "vae.eqx",
        folder / "rnn.eqx",
        folder / "controller.eqx",
        folder / "snapshots.eqx",
    )
    models.load()
    params, stage = [settings.model_dump(), environment.model_dump()], f"explore {round_name}"

    def driven(some: Sequence[Drive]) -> Iterator[Episode]:
        return agent.drive(models, some, environment, round_name, compute)

    with scratch.folder(stage, params, models.paths) as unfinished, files.replacing(RAW / round_name) as new:
        writer = Writer(new, round_name)
        for episode in progress(put_by(unfinished, drives, driven), stage, len(drives)):
            writer.write(episode)
        writer.finish()


def first_track(settings: Config, number: int) -> int:
    """The seed of the first track of a round; the others follow. `number` counts the rounds up to it."""
    return settings.seed + SEEDS_PER_ROUND * number


def plan(settings: Config, number: int) -> list[Drive]:
    """Who drives which track."""
    first = first_track(settings, number)
    drives = []
    for i in range(settings.episodes):
        kinds = [
            Drive(first + i),
            Drive(first + i, action_noise=settings.action_noise),
            Drive(first + i, snapshot=i / settings.episodes),
        ]
        drives.append(kinds[i % 3])
    return drives


if __name__ == "__main__":
    config.run_stage(main, *sys.argv[1:])
