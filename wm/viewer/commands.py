"""What `wm watch` and `wm play` do."""

import os
from pathlib import Path

from wm.agent import agent as agent_files
from wm.dream import playing
from wm.errors import BadInput
from wm.runtime.progress import progress
from wm.spec import FPS
from wm.viewer import comparison, window
from wm.viewer.comparison import Plan
from wm.viewer.game import Game
from wm.viewer.scenes import Minds


def film(models: Path, out: Path, plan: Plan) -> list[str]:
    """Films one real drive beside its dream; returns the lines to print. Raises BadInput."""
    minds = Minds.within(models, plan.seed)
    environment = agent_files.environment(models)
    rules = playing.dream_rules(models, environment.action_repeat)
    make_folder(out)
    running = comparison.moments(minds, environment, rules, plan)
    drive = list(progress(running, "drive", 1 + (plan.steps or environment.max_steps)))
    pictures = list(progress(comparison.draw(drive), "pictures", len(drive)))
    paths = comparison.write(out, pictures, FPS / environment.action_repeat)
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
    minds = Minds.within(models, seed)
    environment = agent_files.environment(models)
    rules = playing.dream_rules(models, environment.action_repeat)
    if temperature is not None:
        rules = rules._replace(temperature=temperature)
    game = Game(minds, environment, rules, kind=world, seed=seed, agent=agent)
    window.run(game, steps)
    return ", ".join(f"{name} {scene.score:.0f}" for name, scene in game.scenes.items())
