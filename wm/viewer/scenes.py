"""The real track and the dream behind one interface: a scene, an action, the next scene."""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, UInt8

from wm.agent.agent import Agent
from wm.agent.folder import AgentFolder
from wm.dream import dynamics, playing
from wm.dream.dynamics import Dream, State
from wm.dream.playing import Running, StepResult
from wm.models import rnn
from wm.models.rnn import RNN
from wm.spec import FRAMES_PER_EPISODE, Timing
from wm.track.real_track import Observation, RealTrack
from wm.track.renderer import shrink
from wm.viewer.pictures import to_bytes

FAILED, LAP, TIME = "left the playfield", "lap finished", "time is over"


class Models(eqx.Module):
    """An agent, its timing, and its dream, which one simulator generates."""

    agent: Agent
    dream: Dream
    timing: Timing = eqx.field(static=True)

    @staticmethod
    def load(folder: AgentFolder, seed: int) -> "Models":
        """The models in the folder; the seed chooses the simulator. Raises BadInput and BadModelFile."""
        agent = folder.agent()
        dream = folder.dream(agent)
        simulator = dream.simulators[seed % len(dream.simulators)]
        return Models(agent, replace(dream, simulators=[simulator]), folder.timing())

    @property
    def simulator(self) -> RNN:
        """The RNN that generates the dream."""
        return self.dream.simulators[0]


class Scene(NamedTuple):
    """The real track or a dream after a step; rewards and score in points, `speed` in metres per second."""

    pictures: list[UInt8[np.ndarray, "height width 3"]]
    """Every frame since the previous scene: on the real track 96 x 96 pixels with the instruments, in a dream
    only the decoded latent, 64 x 64."""
    state: State
    """The current latent, and the memories of simulator and watcher."""
    score: float
    reward: float
    """Of the last step."""
    expected: float
    """The reward that M, which only watches, expected of the last step."""
    frames: int
    speed: float
    """NaN in a dream, which has no car."""
    ending: str
    """How the episode ended; empty during the episode."""

    @property
    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """The last frame."""
        return self.pictures[-1]


class RealWorld:
    """CarRacing-v3, watched by two RNNs: the agent's own, and the one that generates the dream."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.action_repeat = models.timing.action_repeat
        self.track = RealTrack(1, models.timing.warm_up_frames)  # every frame is drawn

    def restart(self, seed: int) -> Scene:
        """The first scene of the track of `seed`, after its warm-up."""
        observation = self.track.reset(seed)
        state = _first_state(self.models, jnp.asarray(shrink(observation.pixels)))
        self.now = Scene(
            [observation.pixels],
            state,
            score=observation.reward,
            reward=0.0,
            expected=0.0,
            frames=observation.frames,
            speed=self.track.speed,
            ending=_ending(observation),
        )
        return self.now

    def step(self, action: Float[np.ndarray, "3"]) -> Scene:
        """The scene after holding `action` for `action_repeat` frames. Raises ValueError after the end."""
        observations = [self.track.step(action)]
        while len(observations) < self.action_repeat and not observations[-1].over:
            observations.append(self.track.step(action))
        last, reward = observations[-1], sum(observation.reward for observation in observations)
        frame, taken = jnp.asarray(shrink(last.pixels)), jnp.asarray(action, jnp.float32)
        state, expected = _watch(self.models, self.now.state, taken, frame)
        self.now = Scene(
            [observation.pixels for observation in observations],
            state,
            score=self.now.score + reward,
            reward=reward,
            expected=float(expected),
            frames=last.frames,
            speed=self.track.speed,
            ending=_ending(last),
        )
        return self.now


def _ending(observation: Observation) -> str:
    if observation.failed:
        return FAILED
    if observation.lap_finished:
        return LAP
    return TIME if observation.truncated else ""


class DreamWorld:
    """One playable dream with the interface of the real track.

    It follows the rules of all dreams except `stuck_steps`: a person may drive back to the road.
    """

    def __init__(self, models: Models, seed: int) -> None:
        self.models, self.key = models, jr.key(seed)
        self.dream = replace(models.dream, rules=models.dream.rules.replace(stuck_steps=0))
        self.temperature = models.dream.rules.temperature

    def restart(self, scene: Scene) -> Scene:
        """The dream continues from the scene: with its state, score and frames, and its reconstruction."""
        self._running = Running(
            key=jr.fold_in(self.key, scene.frames)[None],
            simulator=jnp.zeros(1, jnp.uint32),
            state=jax.tree.map(lambda leaf: leaf[None], scene.state),
            progress=dynamics.begin(jnp.array([scene.score]), scene.frames, self.dream.rules),
            score=jnp.array([scene.score]),
        )
        pictures = [reconstruction(self.models, scene.state)]
        self.now = scene._replace(pictures=pictures, speed=float("nan"))
        return self.now

    def step(self, action: Float[np.ndarray, "3"]) -> Scene:
        """The scene that is dreamt after `action`."""
        taken, temperature = jnp.asarray(action, jnp.float32)[None], jnp.float32(self.temperature)
        self._running, result = _advance(self.dream, self._running, taken, temperature)
        state = jax.tree.map(lambda leaf: leaf[0], self._running.state)
        frames = int(self._running.progress.frames[0])
        self.now = Scene(
            [reconstruction(self.models, state)],
            state,
            score=float(self._running.score[0]),
            reward=float(result.reward[0]),
            expected=float(_expected_reward(self.models.agent.rnn, state.watched.hidden)),
            frames=frames,
            speed=float("nan"),
            ending=_dreamt_ending(result, frames),
        )
        return self.now


def _dreamt_ending(result: StepResult, frames: int) -> str:
    if result.failed[0]:
        return FAILED
    if result.lap_finished[0]:
        return LAP
    return TIME if frames >= FRAMES_PER_EPISODE else ""


def choose(models: Models, scene: Scene) -> Float[np.ndarray, "3"]:
    """The agent's action."""
    return np.asarray(_act(models.agent, scene.state))


def reconstruction(models: Models, state: State) -> UInt8[np.ndarray, "64 64 3"]:
    """The decoded latent."""
    return to_bytes(np.asarray(_decode(models, state.z)))


@eqx.filter_jit
def _first_state(models: Models, frame: Array) -> State:
    z, _ = models.agent.vae.encode(frame)
    return State(z, z, models.simulator.start(), models.agent.rnn.start())


@eqx.filter_jit
def _watch(models: Models, state: State, action: Array, frame: Array) -> tuple[State, Array]:
    memory = rnn.step(models.simulator, state.noisy, action, state.memory)
    watched = rnn.step(models.agent.rnn, state.z, action, state.watched)
    z, _ = models.agent.vae.encode(frame)
    return State(z, z, memory, watched), models.agent.rnn.predict(watched.hidden).reward


@eqx.filter_jit
def _advance(dream: Dream, running: Running, action: Array, temperature: Array) -> tuple[Running, StepResult]:
    # an argument, not a constant of the compiled function: a new temperature compiles nothing
    rules = dream.rules.model_copy(update={"temperature": temperature})
    return playing.advance(replace(dream, rules=rules), running, action)


@eqx.filter_jit
def _expected_reward(watcher: RNN, hidden: Array) -> Array:
    return watcher.predict(hidden).reward


@eqx.filter_jit
def _act(agent: Agent, state: State) -> Array:
    return agent.controller(state.z, state.watched.hidden)


@eqx.filter_jit
def _decode(models: Models, z: Array) -> Array:
    return models.agent.vae.decode(z)
