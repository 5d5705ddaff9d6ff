"""What `wm watch` and `wm play` do."""

import os
from pathlib import Path

from wm.agent.folder import AgentFolder
from wm.errors import BadInput
from wm.runtime.progress import progress, shown_elsewhere
from wm.viewer import comparison, window
from wm.viewer.comparison import FilmPlan
from wm.viewer.game import Game
from wm.viewer.scenes import Models


def film(models: Path, out: Path, plan: FilmPlan) -> list[str]:
    """Films a real drive beside a drive in the dream; returns the lines to print. Raises BadInput."""
    loaded = Models.load(AgentFolder(models), plan.seed)
    make_folder(out)
    running = comparison.moments(loaded, plan)
    drive = list(progress(running, "drive", 1 + (plan.steps or loaded.timing.max_steps)))
    pictures = list(progress(comparison.draw(drive, plan.replay), "pictures", len(drive)))
    paths = comparison.write(out, pictures, loaded.timing.steps_per_second)
    plan = plan._replace(warm_steps=min(plan.warm_steps, len(drive) - 1))  # the drive may end before
    return [comparison.summary(drive[-1], plan), ", ".join(map(str, paths))]


def make_folder(path: Path) -> None:
    """Makes a folder before work is spent on its content. Raises BadInput if it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, expected a folder to write to") from None
    if not os.access(path, os.W_OK):
        raise BadInput(f"{path}: not writable, expected a folder to write to")


def play(models: Path, *, seed: int, steps: int, world: str, agent: bool, temperature: float | None) -> str:
    """Opens the game's window; returns the scores once it is closed. Raises BadInput."""
    window.need_display()
    loaded = Models.load(AgentFolder(models), seed)
    game = Game(loaded, kind=world, seed=seed, agent=agent, temperature=temperature)
    with shown_elsewhere():
        window.run(game, steps)
    return ", ".join(f"{name} {scene.score:.0f}" for name, scene in game.scenes.items())
