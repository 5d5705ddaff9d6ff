"""Scores of an agent in a folder: on real tracks, and in dreams."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
from jaxtyping import Float

from wm.agent import driving, summary
from wm.agent.drive import Drive
from wm.agent.folder import AgentFolder
from wm.agent.start_frames import start_frames
from wm.dream.scoring import whole_episodes
from wm.runtime.progress import Progress, progress
from wm.runtime.workers import Where

Scores = tuple[dict[str, Any], Float[np.ndarray, " n"]]


def real(folder: Path, seeds: Sequence[int], where: Where, *, sampled: bool) -> Scores:
    """Summary and returns of one drive on each real track. Raises BadInput."""
    agent_folder = AgentFolder(folder)
    timing = agent_folder.timing()
    drives = (Drive(seed, sampled=sampled) for seed in seeds)
    shown = Progress("evaluate", len(seeds))
    running = driving.drive_all(agent_folder.files, drives, timing, "agent", where, shown.drove)
    episodes = [replace(episode, observations={}) for episode in shown.over(running)]
    scores = np.array([episode.record.score for episode in episodes])
    return summary.of_episodes(episodes, timing), scores


def dreamt(folder: Path, seeds: Sequence[int]) -> Scores:
    """Summary and returns of one whole dreamt episode from the start of each real track. Raises BadInput."""
    agent_folder = AgentFolder(folder)
    agent = agent_folder.agent()
    starts = start_frames(agent, progress(seeds, "starts", len(seeds)), agent_folder.timing())
    episodes = whole_episodes(agent_folder.dream(agent), agent.controller, starts, jr.key(seeds[0]))
    return summary.of_drives(*(np.asarray(part) for part in episodes)), np.asarray(episodes.score)
