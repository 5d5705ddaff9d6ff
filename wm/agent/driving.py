"""V, M and C together: from frames to actions, many drives side by side."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from wm.agent.agent import Agent, Models, _act
from wm.data.episode import Episode
from wm.models import vae
from wm.models.controller import Controller, Snapshots, stack
from wm.params.environment import Environment
from wm.runtime import model_file, workers
from wm.runtime.workers import Compute
from wm.track.real_track import RealTrack
from wm.track.renderer import shrink
from wm.track.rollout import drive_together


@dataclass(frozen=True)
class Drive:
    """One drive to be made: the track, the noise on the actions (standard deviation), which snapshot
    drives, as a share of evolution's way (0 its start, 1 its end; None: the controller), and whether it
    sees latents drawn from the encoder's distribution, as in dreams, instead of its mean."""

    seed: int
    action_noise: float = 0.0
    snapshot: float | None = None
    drawn: bool = False


SEATS = 10  # drives side by side in one process


def drive(
    models: Models, drives: Sequence[Drive], environment: Environment, source: str, compute: Compute
) -> Iterator[Episode]:
    """The drives' episodes, in their order; the same wherever they are made."""
    models.load()  # so that a bad file is reported before any process is started
    models = models.absolute
    tasks = [
        _Task(models, tuple(drives[start : start + SEATS]), environment, source)
        for start in range(0, len(drives), SEATS)
    ]
    with workers.pool(compute) as pool:
        for episodes in workers.ordered(pool, _drive, tasks):
            yield from episodes


@dataclass(frozen=True)
class _Task:
    models: Models
    drives: tuple[Drive, ...]
    environment: Environment
    source: str


def _drive(task: _Task) -> list[Episode]:
    agent = task.models.load()
    if task.models.snapshots is not None:
        snapshots = model_file.load(task.models.snapshots, Snapshots)
        chosen = [_choose(agent.controller, snapshots, drive) for drive in task.drives]
        agent = eqx.tree_at(lambda a: a.controller, agent, stack(chosen))
    seats = Seats(agent, task.drives)
    environment = task.environment
    tracks = [RealTrack(environment.action_repeat, environment.warm_up_frames) for _ in task.drives]
    return drive_together(tracks, seats.act, [drive.seed for drive in task.drives], task.source)


def _choose(controller: Controller, snapshots: Snapshots, drive: Drive) -> Controller:
    if drive.snapshot is None:
        return controller
    index = round(drive.snapshot * (snapshots.count - 1))
    return jax.tree.map(lambda leaf: leaf[index], snapshots.controllers)


class Seats:
    """An agent at the wheel of several cars at once; remembers each drive from its start."""

    def __init__(self, agent: Agent, drives: Sequence[Drive]) -> None:
        self.agent = agent
        self.scale = np.array([drive.action_noise for drive in drives])
        self.drawn = np.array([drive.drawn for drive in drives])
        self.rngs = [np.random.default_rng(drive.seed) for drive in drives]
        self.memory = agent.rnn.start(len(drives))

    def act(self, pixels: list[UInt8[np.ndarray, "96 96 3"]]) -> list[Float[np.ndarray, "3"]]:
        """The next action of each car."""
        frames = jnp.asarray(np.stack([shrink(one) for one in pixels]))
        noise = np.stack([rng.normal(size=3) for rng in self.rngs]) * self.scale[:, None]
        chance = None
        if self.drawn.any():
            size = self.agent.rnn.latent_size
            chance = np.stack([rng.normal(size=size) for rng in self.rngs]) * self.drawn[:, None]
        noise, chance = jax.tree.map(partial(jnp.asarray, dtype=jnp.float32), (noise, chance))
        actions, self.memory, _ = _act(self.agent, frames, self.memory, noise, chance)
        return list(np.asarray(actions))


def first_sight(
    agent: Agent, seeds: Iterable[int], environment: Environment
) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"], Float[Array, " batch"]]:
    """mu and logvar of the first frame of real tracks, and the rewards of their warm-ups."""
    track = RealTrack(environment.action_repeat, environment.warm_up_frames)
    seen = [track.reset(seed) for seed in seeds]
    frames = jnp.asarray(np.stack([shrink(observation.pixels) for observation in seen]))
    mu, logvar = vae.encode(agent.vae, frames)
    return mu, logvar, jnp.array([observation.reward for observation in seen])
