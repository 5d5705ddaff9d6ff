"""Scores the chosen round's agent on real tracks that nothing else uses: `python -m stages evaluate`."""

from collections.abc import Iterator, Sequence

import numpy as np

from wm.agent import driving, summary
from wm.agent.agent_files import AgentFiles
from wm.agent.drive import Drive
from wm.data.episode import Episode
from wm.data.resumable import resumable_episodes, saved_episode
from wm.params.model import Params
from wm.runtime import files, results, scratch
from wm.runtime.places import METRICS, ROUND_MODELS, VAE_MODEL
from wm.runtime.progress import Progress
from wm.runtime.workers import Where


def main(params: Params) -> None:
    settings, timing = params.evaluate, params.environment.timing
    where = Where(params.compute.scheduler, params.compute.workers)
    round_name = results.chosen_round(params.rounds)
    folder = ROUND_MODELS / round_name
    models = AgentFiles(VAE_MODEL, folder / "rnn.eqx", folder / "controller.eqx")
    models.check()
    seeds = range(settings.seed, settings.seed + settings.episodes)
    values = [settings.model_dump(), params.environment.model_dump()]
    shown = Progress(f"evaluate {round_name}", len(seeds))

    def driven(left: Sequence[int]) -> Iterator[Episode]:
        return driving.drive_all(models, map(Drive, left), timing, round_name, where, shown.drove)

    with scratch.folder("evaluate", values, models.paths) as unfinished:
        scored = summary.driven(shown.over(resumable_episodes(unfinished, seeds, driven), timing.frames_of))
        files.write_csv(METRICS / "real.csv", summary.table(scored))
        files.write_json(METRICS / "real.json", summary.of_driven(scored, timing))
        middle = int(np.argsort(scored["score"], kind="stable")[len(scored) // 2])
        write_film(models, saved_episode(unfinished, middle), timing.steps_per_second)


def write_film(models: AgentFiles, episode: Episode, steps_per_second: float) -> None:
    """Writes the film of an episode, and a strip of its pictures."""
    from wm.agent.agent import Agent  # and with it JAX, without which the drives start earlier
    from wm.viewer import film, pictures

    shots = film.shots(Agent.load(models), episode)
    film.write_video(METRICS / "drive.webm", shots, steps_per_second)
    pictures.write_png(METRICS / "drive.png", film.strip(shots))
