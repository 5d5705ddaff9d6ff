"""Scores of an agent in a folder: on real tracks, and in dreams."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
from jaxtyping import Float

from wm.agent import agent as agent_files
from wm.agent import driving, summary
from wm.agent.agent import Models
from wm.agent.driving import Drive, first_sight
from wm.dream import playing
from wm.dream.scoring import whole_episodes
from wm.params.compute import Compute
from wm.runtime.progress import progress

Scores = tuple[dict[str, Any], Float[np.ndarray, " n"]]


def real(folder: Path, seeds: Sequence[int], compute: Compute, *, drawn: bool) -> Scores:
    """Summary and returns of one drive on each real track. Raises BadInput."""
    models = Models.within(folder)
    environment = agent_files.environment(folder)
    drives = [Drive(seed, drawn=drawn) for seed in seeds]
    running = driving.drive(models, drives, environment, "agent", compute)
    episodes = [replace(episode, observations={}) for episode in progress(running, "evaluate", len(drives))]
    return summary.came_to(episodes, environment), np.array([episode.record.score for episode in episodes])


def dreamt(folder: Path, seeds: Sequence[int]) -> Scores:
    """Summary and returns of one whole dreamt episode from the start of each real track. Raises BadInput."""
    agent = Models.within(folder).load()
    environment = agent_files.environment(folder)
    starts = first_sight(agent, progress(seeds, "starts", len(seeds)), environment)
    simulators = agent_files.simulators(folder, agent)
    rules = playing.dream_rules(folder, environment.action_repeat)
    models = simulators, agent.rnn, agent.controller
    episodes = whole_episodes(*models, *starts, rules, environment.warm_up_frames, jr.key(seeds[0]))
    return summary.drives(*(np.asarray(part) for part in episodes)), np.asarray(episodes.score)
