"""Drives the agent of a round on real tracks that nothing else uses: `python -m stages.evaluate r0`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from wm import agent, config, files, film, pictures, scratch
from wm.agent import Drive, Models
from wm.episodes import Episode, put_by
from wm.parallel import Compute
from wm.progress import progress

MODELS, METRICS = Path("models"), Path("metrics")


class Config(config.Section):
    seed: NonNegativeInt
    episodes: PositiveInt


def main(round_name: str) -> None:
    settings = config.section(Config, "evaluate")
    environment = config.section(config.Environment, "environment")
    compute = config.section(Compute, "compute")
    folder = MODELS / round_name
    models = Models(MODELS / "vae.eqx", folder / "rnn.eqx", folder / "controller.eqx")
    models.load()
    drives = [Drive(settings.seed + i) for i in range(settings.episodes)]
    params, stage = [settings.model_dump(), environment.model_dump()], f"evaluate {round_name}"

    def driven(some: Sequence[Drive]) -> Iterator[Episode]:
        return agent.drive(models, some, environment, round_name, compute)

    with scratch.folder(stage, params, models.paths) as unfinished:
        episodes = list(progress(put_by(unfinished, drives, driven), stage, len(drives)))
        report(episodes, environment, METRICS / round_name)
        middle = sorted(episodes, key=lambda episode: episode.record.score)[len(episodes) // 2]
        shots = film.shots(models.load(), middle)
        film.write_video(METRICS / round_name / "drive.webm", shots, 50 / environment.action_repeat)
        pictures.write_png(METRICS / round_name / "drive.png", film.strip(shots))


def report(episodes: list[Episode], environment: config.Environment, folder: Path) -> None:
    """What the drives came to, and a line for each track."""
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
    files.write_json(folder / "real.json", agent.came_to(episodes, environment))


if __name__ == "__main__":
    config.run_stage(main, *sys.argv[1:])
