"""Drives of an agent on real tracks: several cars at once, on all workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from wm.agent.agent import Agent, AgentFiles
from wm.data.episode import Episode
from wm.models.controller import Controller, Snapshots, stack
from wm.runtime import model_file, workers
from wm.runtime.workers import Where
from wm.spec import ACTION_SIZE, Timing
from wm.track.real_track import RealTrack
from wm.track.renderer import shrink
from wm.track.rollout import drive_together

DRIVES_PER_TASK = 10  # side by side in one process


@dataclass(frozen=True)
class Drive:
    """A drive to be made.

    `action_noise` is the standard deviation of the noise on the actions. `snapshot` is the share of the
    evolution after which the snapshot that drives was taken, from 0 to 1; None: the controller drives. With
    `drawn`, latents are drawn from the encoder's distribution, as in dreams, instead of being its mean.
    """

    seed: int
    action_noise: float = 0.0
    snapshot: float | None = None
    drawn: bool = False


def drive_all(
    models: AgentFiles, drives: Sequence[Drive], timing: Timing, source: str, where: Where
) -> Iterator[Episode]:
    """The episodes of the drives, in their order; the same wherever they are computed."""
    models.load()  # reports a damaged file before any process is started
    models = models.absolute
    tasks = [
        _Task(models, tuple(drives[start : start + DRIVES_PER_TASK]), timing, source)
        for start in range(0, len(drives), DRIVES_PER_TASK)
    ]
    with workers.pool(*where) as pool:
        for episodes in workers.ordered(pool, _episodes, tasks):
            yield from episodes


@dataclass(frozen=True)
class _Task:
    models: AgentFiles
    drives: tuple[Drive, ...]
    timing: Timing
    source: str


def _episodes(task: _Task) -> list[Episode]:
    agent = task.models.load()
    if task.models.snapshots is not None:
        snapshots = model_file.load(task.models.snapshots, Snapshots)
        chosen = [_controller(agent.controller, snapshots, drive) for drive in task.drives]
        agent = eqx.tree_at(lambda a: a.controller, agent, stack(chosen))
    drivers = Drivers(agent, task.drives)
    timing = task.timing
    tracks = [RealTrack(timing.action_repeat, timing.warm_up_frames) for _ in task.drives]
    return drive_together(tracks, drivers.act, [drive.seed for drive in task.drives], task.source)


def _controller(controller: Controller, snapshots: Snapshots, drive: Drive) -> Controller:
    """The controller of a drive."""
    if drive.snapshot is None:
        return controller
    index = round(drive.snapshot * (snapshots.count - 1))
    return jax.tree.map(lambda leaf: leaf[index], snapshots.controllers)


class Drivers:
    """An agent that drives several cars at once; it keeps the memory of each drive from the start."""

    def __init__(self, agent: Agent, drives: Sequence[Drive]) -> None:
        self.agent = agent
        self.action_noise = np.array([drive.action_noise for drive in drives])
        self.drawn = np.array([drive.drawn for drive in drives])
        self.rngs = [np.random.default_rng(drive.seed) for drive in drives]
        self.memory = agent.rnn.start(len(drives))

    def act(self, pixels: list[UInt8[np.ndarray, "96 96 3"]]) -> list[Float[np.ndarray, "3"]]:
        """The next action of each car."""
        frames = jnp.asarray(np.stack([shrink(picture) for picture in pixels]))
        action_noise = self._normal(ACTION_SIZE) * self.action_noise[:, None]
        latent_noise = None
        if self.drawn.any():
            latent_noise = self._normal(self.agent.rnn.latent_size) * self.drawn[:, None]
        noise = jax.tree.map(partial(jnp.asarray, dtype=jnp.float32), (action_noise, latent_noise))
        actions, self.memory, _ = _act(self.agent, frames, self.memory, *noise)
        return list(np.asarray(actions))

    def _normal(self, size: int) -> Float[np.ndarray, "drive size"]:
        """Standard normal numbers, each drive's from its own generator."""
        return np.stack([rng.normal(size=size) for rng in self.rngs])


_act = eqx.filter_jit(Agent.act)
