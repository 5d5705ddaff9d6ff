"""Drives a round's agent on fresh tracks, as data for the next round: `python -m stages explore ROUND`."""

from collections.abc import Iterator, Sequence

from wm.agent import driving
from wm.agent.agent import AgentFiles
from wm.agent.driving import Drive
from wm.agent.exploration import exploration
from wm.data.episode import Episode
from wm.data.resumable import resumable_episodes
from wm.data.shards import Writer
from wm.params.model import Params
from wm.runtime import files, scratch
from wm.runtime.places import RAW, ROUND_MODELS, VAE_MODEL
from wm.runtime.progress import Progress
from wm.runtime.workers import Where


def main(params: Params, round_name: str) -> None:
    settings = params.explore
    where = Where(params.compute.scheduler, params.compute.workers)
    first_seed = settings.first_track(len(params.rounds_until(round_name)))
    drives = exploration(first_seed, settings.episodes, settings.action_noise)
    folder = ROUND_MODELS / round_name
    models = AgentFiles(
        VAE_MODEL,
        folder / "rnn.eqx",
        folder / "controller.eqx",
        folder / "snapshots.eqx",
    )
    models.load()
    values, stage = [settings.model_dump(), params.environment.model_dump()], f"explore {round_name}"
    shown = Progress(stage, len(drives))

    def driven(left: Sequence[Drive]) -> Iterator[Episode]:
        return driving.drive_all(models, left, params.environment.timing, round_name, where, shown.drove)

    with scratch.folder(stage, values, models.paths) as unfinished, files.replacing(RAW / round_name) as new:
        writer = Writer(new, round_name)
        for episode in shown.over(resumable_episodes(unfinished, drives, driven)):
            writer.write(episode)
        writer.finish()
