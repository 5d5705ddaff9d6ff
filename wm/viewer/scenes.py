"""The real track and a dream of it with one face: a scene, an action, the next scene.

What is drawn here one step at a time is what `unroll.unroll` does for thousands of dreams at once.
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from wm.agent import agent
from wm.agent.agent import HIGHEST, LOWEST, Agent, Models
from wm.dream import dynamics
from wm.dream.dynamics import Outcome, Rules, State
from wm.models import mdn, rnn
from wm.models.rnn import RNN
from wm.params.environment import Environment
from wm.spec import FAILURE_REWARD, FRAME_REWARD, FRAMES_PER_EPISODE, LAP_POINTS
from wm.track.real_track import Observation, RealTrack
from wm.track.renderer import shrink
from wm.viewer.pictures import to_bytes

FAILED, LAP, TIME = "left the playfield", "lap finished", "time is over"


class Minds(eqx.Module):
    """All that it takes to drive, to watch and to dream: V, M and C, and the RNN that makes the dream."""

    agent: Agent
    simulator: RNN

    @staticmethod
    def within(folder: Path, seed: int) -> "Minds":
        """Those of a folder; of several simulators the seed says which. Raises BadModelFile."""
        driver = Models.within(folder).load()
        simulators = agent.simulators(folder, driver)
        return Minds(driver, simulators[seed % len(simulators)])


class Scene(NamedTuple):
    """A world at one moment; rewards and score in points, `speed` in metres a second."""

    pictures: list[UInt8[np.ndarray, "height width 3"]]
    """Of every frame since the scene before: real states with their instruments, 96 by 96. In a dream
    only the decoded latent, 64 by 64."""
    state: State
    """What is seen, and what simulator and watcher remember of the drive that led here."""
    score: float
    reward: float
    """Of the last step."""
    expected: float
    """What M, which only watches, had expected of the last step."""
    frames: int
    speed: float
    """Not a number in a dream, which has no car."""
    ending: str
    """How the episode ended; empty while it goes on."""

    @property
    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """The last one."""
        return self.pictures[-1]


class Track(RealTrack):
    """A real track that tells how its car moves."""

    @property
    def speed(self) -> float:
        """Metres a second, as Box2D counts them."""
        return float(self._hull.linearVelocity.length)

    @property
    def heading(self) -> float:
        """Radians, counted to the left."""
        return float(self._hull.angle)

    @property
    def _hull(self):
        assert self._game.car is not None
        return self._game.car.hull


class RealWorld:
    """CarRacing-v3 with two RNNs that look on: the agent's own and the simulator."""

    def __init__(self, minds: Minds, environment: Environment) -> None:
        self.minds = minds
        self.action_repeat = environment.action_repeat
        self.track = Track(1, environment.warm_up_frames)  # every frame is drawn

    def restart(self, seed: int) -> Scene:
        """The first scene of the track of `seed`, after its warm-up."""
        seen = self.track.reset(seed)
        state = _first(self.minds, jnp.asarray(shrink(seen.pixels)))
        speed, ending = self.track.speed, _ending(seen)
        self.now = Scene([seen.pixels], state, seen.reward, 0.0, 0.0, seen.frames, speed, ending)
        return self.now

    def step(self, action: Float[np.ndarray, "3"]) -> Scene:
        """The scene after `action`, held for `action_repeat` frames. Raises ValueError if all is over."""
        seen = [self.track.step(action)]
        while len(seen) < self.action_repeat and not seen[-1].over:
            seen.append(self.track.step(action))
        last, reward = seen[-1], sum(one.reward for one in seen)
        frame, done = jnp.asarray(shrink(last.pixels)), jnp.asarray(action, jnp.float32)
        state, expected = _look(self.minds, self.now.state, done, frame)
        self.now = Scene(
            [one.pixels for one in seen],
            state,
            score=self.now.score + reward,
            reward=reward,
            expected=float(expected),
            frames=last.frames,
            speed=self.track.speed,
            ending=_ending(last),
        )
        return self.now


def _ending(seen: Observation) -> str:
    if seen.failed:
        return FAILED
    if seen.lap_finished:
        return LAP
    return TIME if seen.truncated else ""


class DreamWorld:
    """A dream with the face of a real track: it ends as a drive there would.

    A failure is drawn from its probability. The rules' patience, which ends what a controller may
    live on, is not applied: a person may drive back to the road.
    """

    def __init__(self, minds: Minds, rules: Rules, seed: int) -> None:
        self.minds, self.rules, self.key = minds, rules, jr.key(seed)

    def restart(self, moment: Scene) -> Scene:
        """The moment, dreamt: what is seen and remembered is the moment's, the picture its reconstruction."""
        pictures = [reconstruction(self.minds, moment.state)]
        self.now = moment._replace(pictures=pictures, speed=float("nan"))
        return self.now

    def step(self, action: Float[np.ndarray, "3"]) -> Scene:
        """The scene that is dreamt after `action`."""
        key = jr.fold_in(self.key, self.now.frames)
        rules = self.rules._replace(temperature=jnp.float32(self.rules.temperature))  # no constant for XLA
        state, outcome, failed, expected = _dream(
            self.minds, self.now.state, jnp.asarray(action, jnp.float32), rules, key
        )
        reward = FAILURE_REWARD if failed else float(outcome.reward)
        score = self.now.score + reward
        frames = min(self.now.frames + self.rules.action_repeat, FRAMES_PER_EPISODE)
        ending = _dreamt_ending(bool(failed), score, frames)
        pictures = [reconstruction(self.minds, state)]
        self.now = Scene(pictures, state, score, reward, float(expected), frames, float("nan"), ending)
        return self.now


def _dreamt_ending(failed: bool, score: float, frames: int) -> str:
    """By the rules of real episodes: all tiles' points, or all frames."""
    if failed:
        return FAILED
    if score - FRAME_REWARD * frames >= LAP_POINTS:
        return LAP
    return TIME if frames >= FRAMES_PER_EPISODE else ""


def choose(minds: Minds, scene: Scene) -> Float[np.ndarray, "3"]:
    """What the agent would do."""
    return np.asarray(_act(minds.agent, scene.state))


def reconstruction(minds: Minds, state: State) -> UInt8[np.ndarray, "64 64 3"]:
    """What V makes of the latent."""
    return to_bytes(np.asarray(_decode(minds, state.z)))


@eqx.filter_jit
def _first(minds: Minds, frame: Array) -> State:
    z, _ = minds.agent.vae.encode(frame)
    return State(z, minds.simulator.start(), minds.agent.rnn.start())


@eqx.filter_jit
def _look(minds: Minds, state: State, action: Array, frame: Array) -> tuple[State, Array]:
    memory = rnn.step(minds.simulator, state.z, action, state.memory)
    watched = rnn.step(minds.agent.rnn, state.z, action, state.watched)
    z, _ = minds.agent.vae.encode(frame)
    return State(z, memory, watched), minds.agent.rnn.predict(watched.hidden).reward


@eqx.filter_jit
def _dream(
    minds: Minds, state: State, action: Array, rules: Rules, key: PRNGKeyArray
) -> tuple[State, Outcome, Array, Array]:
    latent_key, failure_key = jr.split(key)
    noise = mdn.draw_noise(latent_key, state.z.shape, minds.simulator.mixtures)
    after, outcome = dynamics.step(minds.simulator, minds.agent.rnn, state, action, noise, rules)
    failed = jr.bernoulli(failure_key, outcome.failure)
    return after, outcome, failed, minds.agent.rnn.predict(after.watched.hidden).reward


@eqx.filter_jit
def _act(driver: Agent, state: State) -> Array:
    action = driver.controller(state.z, state.watched.hidden)
    return jnp.clip(action, jnp.asarray(LOWEST), jnp.asarray(HIGHEST))


@eqx.filter_jit
def _decode(minds: Minds, z: Array) -> Array:
    return minds.agent.vae.decode(z)
