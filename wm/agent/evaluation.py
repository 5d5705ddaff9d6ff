"""Scores of an agent in a folder: on real tracks, and in dreams."""

from collections.abc import Iterator, Sequence
from itertools import islice
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

DREAMS = 250  # computed in one call of a second or two, during which Ctrl-C has to wait


def real(folder: Path, seeds: Sequence[int], where: Where, *, sampled: bool) -> Scores:
    """Summary and returns of one drive on each real track. Raises BadInput."""
    agent_folder = AgentFolder(folder)
    timing = agent_folder.timing()
    drives = (Drive(seed, sampled=sampled) for seed in seeds)
    shown = Progress("evaluate", len(seeds))
    running = driving.drive_all(agent_folder.files, drives, timing, "agent", where, shown.drove)
    driven = summary.driven(shown.over(running, timing.frames_of))
    return summary.of_driven(driven, timing), driven["score"]


def dreamt(folder: Path, seeds: Sequence[int]) -> Scores:
    """Summary and returns of one whole dreamt episode from the start of each real track. Raises BadInput."""
    parts = zip(*_dreamt(AgentFolder(folder), seeds), strict=True)
    scores, *others = (np.concatenate(part) for part in parts)
    return summary.of_drives(scores, *others), scores


def _dreamt(folder: AgentFolder, seeds: Sequence[int]) -> Iterator[list[np.ndarray]]:
    """The episodes, `DREAMS` at a time. Their first seed determines the randomness of them all."""
    agent, timing = folder.agent(), folder.timing()
    dream, left = folder.dream(agent), progress(seeds, "starts", len(seeds))
    for first in range(0, len(seeds), DREAMS):
        starts = start_frames(agent, islice(left, DREAMS), timing)
        episodes = whole_episodes(dream, agent.controller, starts, jr.key(seeds[first]))
        yield [np.asarray(part) for part in episodes]
