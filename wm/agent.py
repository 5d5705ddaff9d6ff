"""V, M and C together: from frames to actions, many drives side by side."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from wm import config, files, metrics, model_file, parallel, vae
from wm.car_racing import FRAMES_PER_EPISODE, RealTrack, shrink
from wm.config import Environment
from wm.controller import Controller, Snapshots, stack
from wm.episodes import Episode
from wm.parallel import Compute
from wm.rnn import RNN, Ensemble, Memory
from wm.rollout import drive_together
from wm.vae import VAE

LOWEST = np.array([-1, 0, 0], np.float32)
HIGHEST = np.ones(3, np.float32)


class Agent(eqx.Module):
    """The three models; `controller` may have a leading axis, one for each drive."""

    vae: VAE
    rnn: RNN
    controller: Controller

    def act(
        self,
        frames: UInt8[Array, "batch height width channel"],
        memory: Memory,
        noise: Float[Array, "batch action"],
        chance: Float[Array, "batch latent"] | None = None,
    ) -> tuple[Float[Array, "batch action"], Memory, Float[Array, "batch latent"]]:
        """Actions for frames, the memories after them, and the latents.

        Those are the encoder's mean, or with `chance`, standard normal, draws, as in dreams.
        """
        z, logvar = jax.vmap(self.vae.encode)(frames)
        z = z if chance is None else z + jnp.exp(logvar / 2) * chance
        stacked = self.controller.bias.ndim == 2
        act = jax.vmap(Controller.__call__, in_axes=(0 if stacked else None, 0, 0))
        action = jnp.clip(act(self.controller, z, memory.hidden) + noise, LOWEST, HIGHEST)
        return action, self.rnn.advance(self.rnn.inputs(z, action), memory), z


@eqx.filter_jit
def _act(
    agent: Agent, frames: Array, memory: Memory, noise: Array, chance: Array | None
) -> tuple[Array, Memory, Array]:
    return agent.act(frames, memory, noise, chance)


@dataclass(frozen=True)
class Models:
    """The files of an agent; `snapshots` only where it explores."""

    vae: Path
    rnn: Path
    controller: Path
    snapshots: Path | None = None

    @staticmethod
    def within(folder: Path) -> "Models":
        """The agent of a folder: vae.eqx, rnn.eqx, controller.eqx."""
        return Models(folder / "vae.eqx", folder / "rnn.eqx", folder / "controller.eqx")

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [path for path in (self.vae, self.rnn, self.controller, self.snapshots) if path]

    @property
    def absolute(self) -> "Models":
        """The same files, for a process that runs elsewhere in the file system."""
        snapshots = self.snapshots and self.snapshots.absolute()
        return Models(self.vae.absolute(), self.rnn.absolute(), self.controller.absolute(), snapshots)

    def load(self) -> Agent:
        """The agent. Raises BadModelFile, for its snapshots and for models that do not fit together, too."""
        agent = Agent(
            model_file.load(self.vae, VAE),
            model_file.load(self.rnn, RNN),
            model_file.load(self.controller, Controller),
        )
        seen = agent.rnn.latent_size + agent.rnn.hidden_size
        model_file.check(self.rnn, "latent_size", agent.rnn.latent_size, agent.vae.latent_size)
        model_file.check(self.controller, "features", agent.controller.weight.shape[-1], seen)
        if self.snapshots:
            snapshots = model_file.load(self.snapshots, Snapshots)
            model_file.check(self.snapshots, "features", snapshots.controllers.weight.shape[-1], seen)
        return agent


@dataclass(frozen=True)
class Drive:
    """One drive to be made: the track, the noise on the actions (standard deviation), which snapshot
    drives, as a share of evolution's way (0 its start, 1 its end; None: the controller), and whether it
    sees latents drawn from the encoder's distribution, as in dreams, instead of its mean."""

    seed: int
    action_noise: float = 0.0
    snapshot: float | None = None
    drawn: bool = False


def environment(folder: Path) -> Environment:
    """The environment that the agent in `folder` was made for, as its environment.json says.

    Without that file it is the one of params.yaml. Raises BadInput.
    """
    path = folder / "environment.json"
    if path.exists():
        return config.validated(Environment, files.read_json(path), str(path))
    return config.section(Environment, "environment")


def simulators(folder: Path, agent: Agent) -> list[RNN]:
    """The RNNs that make the dreams of the agent in `folder`: its simulators.eqx, or else its own."""
    path = folder / "simulators.eqx"
    if not path.exists():
        return [agent.rnn]
    ensemble = model_file.load(path, Ensemble)
    model_file.check_sizes(path, ensemble.stacked, agent.rnn)
    return ensemble.members or [agent.rnn]


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
    with parallel.pool(compute) as pool:
        for episodes in parallel.ordered(pool, _drive, tasks):
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


def came_to(episodes: Sequence[Episode], environment: Environment) -> dict[str, Any]:
    """What real drives came to; see `metrics.drives`."""
    records = [episode.record for episode in episodes]
    lengths = [environment.warm_up_frames + environment.action_repeat * record.length for record in records]
    return metrics.drives(
        np.array([record.score for record in records]),
        np.minimum(lengths, FRAMES_PER_EPISODE),
        np.array([record.lap_finished for record in records]),
        np.array([episode.missed.sum() for episode in episodes]),
        np.array([episode.terminated[-1] for episode in episodes]),
    )


def first_sight(
    agent: Agent, seeds: Iterable[int], environment: Environment
) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"], Float[Array, " batch"]]:
    """mu and logvar of the first frame of real tracks, and the rewards of their warm-ups."""
    track = RealTrack(environment.action_repeat, environment.warm_up_frames)
    seen = [track.reset(seed) for seed in seeds]
    frames = jnp.asarray(np.stack([shrink(observation.pixels) for observation in seen]))
    mu, logvar = vae.encode(agent.vae, frames)
    return mu, logvar, jnp.array([observation.reward for observation in seen])
