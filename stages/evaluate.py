"""Scores a round's agent on real tracks that nothing else uses: `python -m stages evaluate ROUND`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from wm.agent import driving, summary
from wm.agent.agent import AgentFiles
from wm.agent.driving import Drive
from wm.data.episode import Episode
from wm.data.resumable import resumable_episodes
from wm.params.model import Params
from wm.runtime import files, scratch
from wm.runtime.places import ROUND_METRICS, ROUND_MODELS, VAE_MODEL
from wm.runtime.progress import Progress
from wm.runtime.workers import Where
from wm.spec import Timing
from wm.viewer import film, pictures


def main(params: Params, round_name: str) -> None:
    settings = params.evaluate
    timing = params.environment.timing
    where = Where(params.compute.scheduler, params.compute.workers)
    folder = ROUND_MODELS / round_name
    models = AgentFiles(VAE_MODEL, folder / "rnn.eqx", folder / "controller.eqx")
    models.load()
    drives = [Drive(settings.seed + i) for i in range(settings.episodes)]
    values, stage = [settings.model_dump(), params.environment.model_dump()], f"evaluate {round_name}"
    shown = Progress(stage, len(drives))

    def driven(left: Sequence[Drive]) -> Iterator[Episode]:
        return driving.drive_all(models, left, timing, round_name, where, shown.drove)

    with scratch.folder(stage, values, models.paths) as unfinished:
        episodes = list(shown.over(resumable_episodes(unfinished, drives, driven)))
        report(episodes, timing, ROUND_METRICS / round_name)
        middle = sorted(episodes, key=lambda episode: episode.record.score)[len(episodes) // 2]
        shots = film.shots(models.load(), middle)
        film.write_video(ROUND_METRICS / round_name / "drive.webm", shots, timing.steps_per_second)
        pictures.write_png(ROUND_METRICS / round_name / "drive.png", film.strip(shots))


def report(episodes: list[Episode], timing: Timing, folder: Path) -> None:
    """Writes the summary of the drives, and a row for each track."""
    rows = [
        {
            "seed": episode.record.seed,
            "score": round(episode.record.score, 2),
            "steps": episode.record.length,
            "lap_finished": episode.record.lap_finished,
            "missed": int(episode.missed.sum()),
        }
        for episode in episodes
    ]
    files.write_csv(folder / "real.csv", rows)
    files.write_json(folder / "real.json", summary.of_episodes(episodes, timing))
