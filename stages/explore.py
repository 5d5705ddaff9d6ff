"""Drives a round's agent on new tracks, as data for the next round: `python -m stages explore ROUND`.

The drives by the agent itself, without action noise, are the round's real score.
"""

from collections.abc import Iterator, Sequence

from wm.agent import driving, summary
from wm.agent.agent_files import AgentFiles
from wm.agent.drive import Drive
from wm.agent.exploration import exploration
from wm.data.episode import Episode
from wm.data.resumable import resumable_episodes
from wm.data.shards import Writer
from wm.params.model import Params
from wm.runtime import files, scratch
from wm.runtime.places import RAW, ROUND_METRICS, ROUND_MODELS, VAE_MODEL
from wm.runtime.progress import Progress
from wm.runtime.workers import Where


def main(params: Params, round_name: str) -> None:
    settings, timing = params.explore, params.environment.timing
    where = Where(params.compute.scheduler, params.compute.workers)
    first_seed = settings.first_track(len(params.rounds_until(round_name)))
    drives = exploration(first_seed, settings.episodes, settings.action_noise)
    folder, metrics = ROUND_MODELS / round_name, ROUND_METRICS / round_name
    models = AgentFiles(
        VAE_MODEL,
        folder / "rnn.eqx",
        folder / "controller.eqx",
        folder / "snapshots.eqx",
    )
    models.check()
    values, stage = [settings.model_dump(), params.environment.model_dump()], f"explore {round_name}"
    shown = Progress(stage, len(drives))

    def driven(left: Sequence[Drive]) -> Iterator[Episode]:
        return driving.drive_all(models, left, timing, round_name, where, shown.drove)

    with scratch.folder(stage, values, models.paths) as unfinished, files.replacing(RAW / round_name) as new:
        writer = Writer(new, round_name)

        def own() -> Iterator[Episode]:
            episodes = shown.over(resumable_episodes(unfinished, drives, driven), timing.frames_of)
            for drive, episode in zip(drives, episodes, strict=True):
                writer.write(episode)
                if drive.is_agents_own:
                    yield episode

        scored = summary.driven(own())
        writer.finish()
        files.write_csv(metrics / "explore.csv", summary.table(scored))
        drives_summary = summary.of_driven(scored, timing)
        files.write_json(metrics / "explore.json", {**drives_summary, "tracks": "exploring"})
