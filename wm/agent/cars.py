"""Cars that an agent drives on real tracks, several at once in one process."""

from collections.abc import Iterator

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, UInt8

from wm.agent.agent import Agent
from wm.agent.agent_files import AgentFiles
from wm.agent.drive import CARS, Drive
from wm.data.episode import Episode
from wm.models.controller import Controller, Snapshots
from wm.models.rnn import Memory
from wm.runtime import model_file
from wm.spec import ACTION_SIZE, FRAME_SHAPE, Timing
from wm.track.real_track import RealTrack
from wm.track.rollout import Rollout, rollout


class Cars:
    """Cars that an agent drives, each on a track of its own."""

    def __init__(self, drivers: "Drivers", timing: Timing, source: str) -> None:
        self.drivers, self.timing, self.source = drivers, timing, source
        self.tracks = [RealTrack(timing.action_repeat, timing.warm_up_frames) for _ in range(CARS)]
        self.frames = np.zeros((CARS, *FRAME_SHAPE), np.uint8)
        self.running: dict[int, tuple[int, Rollout]] = {}  # by car: the drive's number, and the drive
        self._driven = 0

    def standing(self, count: int) -> list[int]:
        """Which of the first `count` cars stand still."""
        return [car for car in range(count) if car not in self.running]

    def start(self, car: int, number: int, drive: Drive) -> None:
        """Lets a car begin a drive."""
        self.drivers.start(car, drive)
        self.running[car] = number, rollout(self.tracks[car], drive.seed, self.source)
        self.frames[car] = next(self.running[car][1]).frame
        self._driven += self.timing.warm_up_frames

    def step(self) -> Iterator[tuple[int, Episode]]:
        """One step of all cars; yields the drives that it ends, with their numbers."""
        actions = self.drivers.act(self.frames)
        for car, (number, drive) in list(self.running.items()):
            self._driven += self.timing.action_repeat
            try:
                self.frames[car] = drive.send(actions[car]).frame
            except StopIteration as end:
                del self.running[car]
                yield number, end.value

    def newly_driven(self) -> int:
        """Frames driven since the last call; a drive's last action counts in full."""
        driven, self._driven = self._driven, 0
        return driven


class Drivers:
    """An agent that drives `CARS` cars at once; it keeps each one's memory since its start.

    Batches always have the same shape, with arbitrary numbers for cars that stand still, since the last bits
    of an action may depend on the shape. They do not depend on the other cars.
    """

    def __init__(self, agent: Agent, snapshots: Snapshots | None = None) -> None:
        self.agent, self.controller, self.snapshots = agent, agent.controller, snapshots
        self.controllers = [agent.controller] * CARS  # of each car, where there are snapshots
        self.drives = [Drive(0)] * CARS
        self.rngs = [np.random.default_rng(0)] * CARS
        self.memory = agent.rnn.start(CARS)

    @classmethod
    def load(cls, files: AgentFiles) -> "Drivers":
        """The agent in the files, and its snapshots if there is a file of them. Raises BadModelFile."""
        agent = Agent.load(files)
        return cls(agent, model_file.load(files.snapshots, Snapshots) if files.snapshots else None)

    def start(self, car: int, drive: Drive) -> None:
        """Lets a car begin a drive."""
        self.drives[car], self.rngs[car] = drive, np.random.default_rng(drive.seed)
        hidden, cell = (np.array(part) for part in self.memory)
        hidden[car] = cell[car] = 0
        self.memory = Memory(jax.device_put(hidden), jax.device_put(cell))
        if self.snapshots is not None:
            self.controllers[car] = controller_of(drive, self.controller, self.snapshots)
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *self.controllers)
            self.agent = eqx.tree_at(lambda agent: agent.controller, self.agent, stacked)

    def act(self, frames: UInt8[np.ndarray, "car 64 64 3"]) -> Float[np.ndarray, "car 3"]:
        """The next action of each car."""
        action_noise = np.zeros((CARS, ACTION_SIZE), np.float32)
        latent_noise = np.zeros((CARS, self.agent.rnn.latent_size), np.float32)
        for car, (drive, rng) in enumerate(zip(self.drives, self.rngs, strict=True)):
            action_noise[car] = rng.normal(size=ACTION_SIZE) * drive.action_noise
            if drive.sampled:
                latent_noise[car] = rng.normal(size=len(latent_noise[car]))
        actions, self.memory, _ = _act(self.agent, frames, self.memory, action_noise, latent_noise)
        return np.asarray(actions)


_act = jax.jit(Agent.act)


def controller_of(drive: Drive, controller: Controller, snapshots: Snapshots) -> Controller:
    """The controller that drives."""
    if drive.snapshot is None:
        return controller
    index = round(drive.snapshot * (snapshots.count - 1))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], snapshots.controllers)
