"""Drives of a round's agent on fresh tracks, as data for the next: `python -m stages explore r0`.

A third of the drives is the agent's own, a third with noise on its actions, and a third is driven
by snapshots of its evolution: what the search will try again, reality has then answered.
"""

from collections.abc import Iterator, Sequence

from wm.agent import driving
from wm.agent.agent import AgentFiles
from wm.agent.driving import Drive
from wm.data.episode import Episode
from wm.data.resumable import resumable_episodes
from wm.data.shards import Writer
from wm.params.explore import Explore
from wm.params.model import Params
from wm.runtime import files, scratch
from wm.runtime.places import RAW, ROUND_MODELS, VAE_MODEL
from wm.runtime.progress import progress


def main(params: Params, round_name: str) -> None:
    settings = params.explore
    environment = params.environment
    compute = params.compute
    drives = plan(settings, len(params.rounds_until(round_name)))
    folder = ROUND_MODELS / round_name
    models = AgentFiles(
        VAE_MODEL,
        folder / "rnn.eqx",
        folder / "controller.eqx",
        folder / "snapshots.eqx",
    )
    models.load()
    values, stage = [settings.model_dump(), environment.model_dump()], f"explore {round_name}"

    def driven(some: Sequence[Drive]) -> Iterator[Episode]:
        return driving.drive_all(models, some, environment, round_name, compute)

    with scratch.folder(stage, values, models.paths) as unfinished, files.replacing(RAW / round_name) as new:
        writer = Writer(new, round_name)
        for episode in progress(resumable_episodes(unfinished, drives, driven), stage, len(drives)):
            writer.write(episode)
        writer.finish()


def plan(settings: Explore, number: int) -> list[Drive]:
    """Who drives which track."""
    first = settings.first_track(number)
    drives = []
    for i in range(settings.episodes):
        kinds = [
            Drive(first + i),
            Drive(first + i, action_noise=settings.action_noise),
            Drive(first + i, snapshot=i / settings.episodes),
        ]
        drives.append(kinds[i % 3])
    return drives
