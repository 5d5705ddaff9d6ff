"""Drives of a round's agent on fresh tracks, as data for the next: `python -m stages.explore r0`.

A third of the drives is the agent's own, a third with noise on its actions, and a third is driven
by snapshots of its evolution: what the search will try again, reality has then answered.
"""

import sys
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from wm import agent, config, files
from wm.agent import Drive, Models
from wm.episodes import Writer
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
    drives = plan(settings, len(config.rounds_until(round_name)))
    folder = MODELS / round_name
    models = Models(
        MODELS / "vae.eqx",
        folder / "rnn.eqx",
        folder / "controller.eqx",
        folder / "snapshots.eqx",
    )
    with files.replacing(RAW / round_name) as unfinished:
        writer = Writer(unfinished, round_name)
        running = agent.drive(models, drives, environment, round_name, workers=0)
        for episode in progress(running, f"explore {round_name}", len(drives)):
            writer.write(episode)
        writer.finish()


def plan(settings: Config, number: int) -> list[Drive]:
    """Who drives which track."""
    first = settings.seed + SEEDS_PER_ROUND * number
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
    config.run(main, *sys.argv[1:])
