"""The searches of a round: the same dreams and schedule, but other shares of start states around off-track
events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from wm.agent import summary
from wm.data.batches import longest
from wm.data.cached import CachedShards
from wm.data.shards import Shards
from wm.dream.dynamics import Dream
from wm.dream.scoring import LatentRange, rows, with_strays
from wm.dream.starts import StartFrames
from wm.errors import BadInput
from wm.models import rnn_files
from wm.models.controller import Controller
from wm.models.rnn_files import RNNs
from wm.runtime import model_file, model_header
from wm.runtime.journal import Journal
from wm.runtime.progress import progress
from wm.search.ascent import Ascent
from wm.search.cma_es import Schedule
from wm.search.evolution import Chance, Evolved, evolve, recorded
from wm.search.fitness import Goal, Problem
from wm.search.selection import Estimate, equally_good
from wm.search.space import Candidates, ControllerSpace
from wm.search.start_states import StartMoments


class Inputs(NamedTuple):
    """What a round's search reads; `previous` is the last round's controller, if the search refines it."""

    shards: Shards
    rnns: RNNs
    previous: Controller | None

    @property
    def features(self) -> int:
        """The number of the controller's features."""
        return self.rnns.own.latent_size + self.rnns.own.hidden_size

    def check(self, value_steps: int, components: int, place: str) -> None:
        """Raises BadInput for parameters that ask for more than the drives or the controller have."""
        kept = [self.shards.kept(validation=validation) for validation in (False, True)]
        length = min(longest(records) for records in kept)
        if value_steps >= length:
            which = f"the longest drive for training or validation in {self.shards.folder}"
            limit = f"expected less than {length}, the length of {which}"
            raise BadInput(f"{place}.value_steps: found {value_steps}, {limit}")
        if components > self.features:
            limit = f"expected at most {self.features}, the number of the controller's features"
            raise BadInput(f"{place}.principal_components: found {components}, {limit}")


def read(latents: Path, folder: Path, previous: Path | None) -> Inputs:
    """The inputs: latents, the RNNs in the round's folder, the controller in the file `previous`.

    Raises BadInput for files that do not fit together.
    """
    shards = CachedShards(latents)
    rnns = rnn_files.read(folder)
    shards.expect_latents(rnns.own.latent_size)
    controller = model_file.load(previous, Controller) if previous else None
    inputs = Inputs(shards, rnns, controller)
    if previous and controller:
        model_header.check(previous, "features", controller.weight.shape[-1], inputs.features)
    return inputs


class SearchResult(NamedTuple):
    """A search's record, and the range of the latents of its start states."""

    evolved: Evolved
    real: LatentRange

    @property
    def best(self) -> Controller:
        """The controller that it found."""
        return self.evolved.snapshots[-1]


@dataclass(frozen=True)
class RoundSearch:
    """What the searches of a round have in common."""

    goal: Goal
    candidates: Candidates
    ascent: Ascent
    schedule: Schedule
    snapshot_every: int  # generations
    chance: Chance

    def run(self, moments: StartMoments, journal: Journal, label: str) -> SearchResult:
        """The search in dreams that start from these moments."""
        problem, space = self._posed(moments)
        starts, path = problem.dreams[0].starts, [space.start(self.candidates.previous)]
        if self.ascent.updates:
            path = self._ascent(problem, space, path[0], label)
        steps = evolve(problem, space, np.asarray(path[-1]), self.schedule, self.chance, journal)
        total = self.schedule.generations
        evolved = recorded(
            [space.controller(coordinates) for coordinates in path],
            progress(steps, label, total),
            snapshot_every=self.snapshot_every,
            generations=total,
        )
        return SearchResult(evolved, LatentRange.of(starts))

    def ascended(self, moments: StartMoments, label: str) -> Controller:
        """The controller after gradient ascent alone."""
        problem, space = self._posed(moments)
        start = space.start(self.candidates.previous)
        return space.controller(self._ascent(problem, space, start, label)[-1])

    def refining(self, previous: Controller) -> "RoundSearch":
        """The same search, but from `previous`."""
        return replace(self, candidates=replace(self.candidates, previous=previous))

    def _posed(self, moments: StartMoments) -> tuple[Problem, ControllerSpace]:
        """The problem with dreams from these moments, and the space of its controllers."""
        problem = self.goal.problem(moments, self.chance.start_key)
        return problem, self.candidates.space(problem.dreams[0].starts, jr.key(moments.drives.seed))

    def _ascent(
        self, problem: Problem, space: ControllerSpace, start: Float[Array, " coordinate"], label: str
    ) -> list[Float[Array, " coordinate"]]:
        """The coordinates after each quarter of the gradient ascent from `start`."""
        updates = self.ascent.updates
        steps = self.ascent.coordinates(problem, space, start, self.chance.ascent_key)
        path = list(progress(steps, f"{label}, ascent", updates))
        return [path[-(-updates * quarter // 4) - 1] for quarter in (1, 2, 3, 4)]


class DreamScore(NamedTuple):
    """The summary of whole dreamt episodes, as in dream.json, and the rows of dream.csv, one per episode."""

    summary: dict[str, Any]
    episodes: list[dict[str, Any]]


def dream_score(dream: Dream, search: SearchResult, frames: StartFrames, key: PRNGKeyArray) -> DreamScore:
    """The score of a search's controller in whole dreamt episodes, and the share of their steps whose latents
    lie outside the range of real ones."""
    episodes, strays = with_strays(dream, search.best, frames, key, search.real)
    scored = {
        **summary.of_drives(*(np.asarray(part) for part in episodes)),
        "rules": dream.rules.stored,
        "impossible": bool(episodes.score.mean() > summary.IMPOSSIBLE),
        "strays": round(float(strays), 4),
    }
    return DreamScore(scored, rows(episodes))


def chosen_share(scores: Mapping[float, DreamScore]) -> float:
    """The largest off-track share among the equally good searches, since harder dreams teach more."""
    estimates = {share: score.summary["score"] for share, score in scores.items()}
    return max(equally_good({share: Estimate(s["mean"], s["sem"]) for share, s in estimates.items()}))
