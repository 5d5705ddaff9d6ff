"""The dream as a Gymnasium environment, and the real track with the same face.

`gymnasium.make("wm.envs:CarRacingDream-v0")`, `gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=64)`
and `gymnasium.make("wm.envs:RealCarRacing-v0")`: equal spaces, equal units, so that whoever learnt to drive
in the one drives in the other unchanged. Actions are CarRacing-v3's; each lasts `action_repeat` frames.

The observation "latent" is (z, h): the latent of what is seen and the memory of the RNN that watches, which
is what a controller looks at. "pixels" is the picture, 64 x 64 in colour: the decoded latent in the dream,
the frame itself on the real track.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d.car_racing import FPS
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Array, Bool, Float

from wm.agent import agent
from wm.agent.agent import HIGHEST, LOWEST, Agent, Models
from wm.agent.driving import first_sight
from wm.dream import playing
from wm.dream.playing import Chosen, Dreams, Event, Running
from wm.dream.starts import FirstSight, read_starts
from wm.errors import BadInput
from wm.models import rnn, vae
from wm.models.vae import VAE
from wm.params.environment import Environment
from wm.spec import FRAME_SHAPE
from wm.track.real_track import Observation, RealTrack
from wm.track.renderer import shrink
from wm.viewer.pictures import enlarged

PRETRAINED = "models/pretrained"
RENDERED_SIDE = 256

Step = tuple[np.ndarray, Any, Any, Any, dict[str, Any]]


@dataclass(frozen=True)
class View:
    """With whose eyes an environment is seen: an agent, and its pictures or its latents."""

    folder: Path
    agent: Agent
    environment: Environment
    pixels: bool

    @property
    def decoder(self) -> VAE | None:
        """What makes observations of latents; None where they are observed as they are."""
        return self.agent.vae if self.pixels else None

    @property
    def observation_space(self) -> spaces.Box:
        if self.pixels:
            return spaces.Box(0, 255, FRAME_SHAPE, np.uint8)
        latent, hidden = self.agent.rnn.latent_size, self.agent.rnn.hidden_size
        highest = np.array([playing.Z_LIMIT] * latent + [1.0] * hidden, np.float32)
        return spaces.Box(-highest, highest)

    @property
    def render_fps(self) -> float:
        """Pictures a second at which a drive looks as fast as it is."""
        return FPS / self.environment.action_repeat


def view(models: str | Path, observation: str, render_mode: str | None) -> View:
    """The eyes of the agent in the folder `models`. Raises BadInput."""
    _one_of("observation", observation, ("latent", "pixels"))
    _one_of("render_mode", render_mode, (None, "rgb_array"))
    folder = Path(models)
    return View(
        folder, Models.within(folder).load(), agent.environment(folder), pixels=observation == "pixels"
    )


def dreams(
    seen: View, temperature: float | None, horizon_steps: int | None, start_seeds: Sequence[int] | None
) -> Dreams:
    """What the agent dreams. Raises BadInput."""
    repeat, warm_up = seen.environment.action_repeat, seen.environment.warm_up_frames
    rules = playing.dream_rules(seen.folder, repeat)
    if temperature is not None:
        if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
            raise BadInput(f"CarRacingDream: temperature: found {temperature!r}, wanted a number above 0")
        rules = rules._replace(temperature=float(temperature))
    steps = seen.environment.max_steps if horizon_steps is None else horizon_steps
    _at_least_one("horizon_steps", steps)
    simulators = agent.simulators(seen.folder, seen.agent)
    return Dreams(simulators, seen.agent.rnn, starts(seen, start_seeds), rules, warm_up, steps)


def starts(seen: View, seeds: Sequence[int] | None) -> FirstSight:
    """How drives begin: on the real tracks of `seeds`, or as published with the agent. Raises BadInput."""
    if seeds is None:
        return read_starts(seen.folder / "starts.npz", seen.agent.rnn.latent_size)
    if not isinstance(seeds, Sequence | np.ndarray) or not len(seeds) or not all(map(_is_whole, seeds)):
        raise BadInput(
            f"CarRacingDream: start_seeds: found {seeds!r}, wanted seeds of 0 or more, at least one"
        )
    return FirstSight(*first_sight(seen.agent, seeds, seen.environment))


def action_space() -> spaces.Box:
    """Steering in [-1, 1], gas and brake in [0, 1]: CarRacing-v3's."""
    return spaces.Box(LOWEST, HIGHEST)


class Play:
    """`count` dreams under way, NumPy in and out: what the single and the vector environment share."""

    def __init__(self, seen: View, world: Dreams, count: int) -> None:
        self.seen, self.world, self.count = seen, world, count
        self.running: Running | None = None

    def begin(
        self, rngs: Sequence[np.random.Generator], anew: Bool[np.ndarray, " batch"]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """New dreams where `anew` is set, all their chance drawn from `rngs`: observations and infos."""
        beginning = jnp.asarray(anew), self._choose(rngs, anew)
        self.running, seen = _begun(self.world, self.seen.decoder, self.running, *beginning)
        return np.array(seen), self._info(np.zeros(self.count, bool))

    def step(
        self,
        actions: np.ndarray,
        rngs: Sequence[np.random.Generator],
        anew: Bool[np.ndarray, " batch"],
    ) -> Step:
        """All dreams one step on, but for new ones where `anew` is set.

        Raises ValueError for actions outside the action space, ResetNeeded before the first `begin`.
        """
        if self.running is None:
            raise ResetNeeded("CarRacingDream.step: no episode is under way; call reset() first.")
        action = jnp.asarray(checked(actions, self.count))
        beginning = jnp.asarray(anew), self._choose(rngs, anew)
        self.running, event, seen = _stepped(self.world, self.seen.decoder, self.running, action, *beginning)
        failed, lap, late = (np.array(part) for part in event[1:])
        over = failed | lap
        return np.array(seen), np.array(event.reward, float), over, late & ~over, self._info(lap)

    def rendered(self) -> list[np.ndarray]:
        """What is dreamt, as pictures."""
        if self.running is None:
            raise ResetNeeded("CarRacingDream.render: no episode is under way; call reset() first.")
        frames = np.asarray(_decoded(self.seen.agent.vae, self.running))
        return [enlarged(frame, RENDERED_SIDE) for frame in frames]

    def _choose(self, rngs: Sequence[np.random.Generator], anew: Bool[np.ndarray, " batch"]) -> Chosen:
        chosen = np.zeros((self.count, 3), np.uint32)
        for i in np.flatnonzero(anew).tolist():
            chosen[i] = self.world.choose(rngs[i])
        return Chosen(*map(jnp.asarray, chosen.T))

    def _info(self, lap: Bool[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        assert self.running is not None
        score = np.array(self.running.score, float)
        return {"score": score, "frames": self.world.frames(self.running), "lap_finished": lap}


@eqx.filter_jit
def _begun(
    world: Dreams, decoder: VAE | None, running: Running | None, anew: Array, chosen: Chosen
) -> tuple[Running, Array]:
    begun = world.begin(chosen)
    if running is not None:
        begun = playing.where(anew, begun, running)
    return begun, _observed(decoder, begun)


@eqx.filter_jit
def _stepped(
    world: Dreams, decoder: VAE | None, running: Running, actions: Array, anew: Array, chosen: Chosen
) -> tuple[Running, Event, Array]:
    after, event = world.play(running, actions, anew, chosen)
    return after, event, _observed(decoder, after)


def _observed(decoder: VAE | None, running: Running) -> Array:
    if decoder is None:
        return playing.features(running.state.z, running.state.watched)
    return playing.pictures(decoder, running.state.z)


@eqx.filter_jit
def _decoded(decoder: VAE, running: Running) -> Array:
    return playing.pictures(decoder, running.state.z)


class CarRacingDream(gymnasium.Env):
    """One dreamt drive at a time.

    An episode begins as a real drive was first seen, after its warm-up; it ends `terminated` when a failure
    is drawn (reward -100) or all tiles' points are collected, `truncated` after `horizon_steps`. `info` holds
    the `score` so far as real ones are counted (with the warm-up), the `frames`, and `lap_finished`.

    `models` is the folder of an agent; `temperature` is that of its evolution's dreams unless given;
    `horizon_steps` as many as a real episode leaves; `start_seeds` real tracks to begin on, instead of the
    moments in the folder's starts.npz. Raises BadInput.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(
        self,
        models: str | Path = PRETRAINED,
        observation: str = "latent",
        temperature: float | None = None,
        horizon_steps: int | None = None,
        start_seeds: Sequence[int] | None = None,
        render_mode: str | None = None,
    ) -> None:
        seen = view(models, observation, render_mode)
        self.play = Play(seen, dreams(seen, temperature, horizon_steps, start_seeds), 1)
        self.observation_space, self.action_space = seen.observation_space, action_space()
        self.metadata = self.metadata | {"render_fps": seen.render_fps}
        self.render_mode = render_mode
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new dream; the seed settles all its chance."""
        super().reset(seed=seed)
        self._over = False
        observation, info = self.play.begin([self.np_random], np.ones(1, bool))
        return observation[0], _only(info)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action outside the action space, ResetNeeded if the episode is over."""
        if self._over:
            raise ResetNeeded("CarRacingDream.step: the episode is over; call reset() first.")
        found = self.play.step(np.asarray(action)[None], [self.np_random], np.zeros(1, bool))
        (observation,), (reward,), (terminated,), (truncated,), info = found
        self._over = bool(terminated or truncated)
        return observation, float(reward), bool(terminated), bool(truncated), _only(info)

    def render(self) -> np.ndarray | None:
        """What is dreamt, as a picture."""
        return None if self.render_mode is None else self.play.rendered()[0]


class CarRacingDreams(VectorEnv):
    """Many dreamt drives side by side, one compiled step for all; otherwise as CarRacingDream.

    The i-th is seeded with seed + i. An episode that ended begins anew with the next step, whose action it
    does not heed and whose reward is 0 (`AutoresetMode.NEXT_STEP`). `reset(options={"reset_mask": mask})`
    begins only those of the mask anew, and the others go on.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        models: str | Path = PRETRAINED,
        observation: str = "latent",
        temperature: float | None = None,
        horizon_steps: int | None = None,
        start_seeds: Sequence[int] | None = None,
        render_mode: str | None = None,
    ) -> None:
        _at_least_one("num_envs", num_envs)
        seen = view(models, observation, render_mode)
        self.play = Play(seen, dreams(seen, temperature, horizon_steps, start_seeds), num_envs)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = seen.observation_space, action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = self.metadata | {"render_fps": seen.render_fps}
        self.render_mode = render_mode
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._over = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New dreams, all or those of the mask; a seed settles all the chance of its dreams."""
        anew = self._mask((options or {}).get("reset_mask"))
        for i, one in enumerate(self._seeds(seed)):
            if one is not None and anew[i]:
                self._rngs[i] = seeding.np_random(one)[0]
        self._over = self._over & ~anew
        observations, info = self.play.begin(self._rngs, anew)
        return observations, _told(info, anew)

    def step(self, actions: np.ndarray) -> Step:
        """Raises ValueError for actions outside the action space, ResetNeeded before the first `reset`."""
        *found, info = self.play.step(actions, self._rngs, self._over)
        observations, rewards, terminations, truncations = found
        self._over = terminations | truncations
        return observations, rewards, terminations, truncations, _told(info, np.ones(self.num_envs, bool))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """What is dreamt, as pictures."""
        return None if self.render_mode is None else tuple(self.play.rendered())

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if _is_whole(seed):
            return [int(seed) + i for i in range(self.num_envs)]
        if not isinstance(seed, Sequence | np.ndarray) or len(seed) != self.num_envs:
            raise ValueError(
                f"CarRacingDreams.reset: seed: found {seed!r}; a whole number is wanted,"
                f" or {self.num_envs}, one for each."
            )
        return [None if one is None else int(one) for one in seed]

    def _mask(self, mask: Any) -> np.ndarray:
        if mask is None or self.play.running is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise ValueError(
                f"CarRacingDreams.reset: reset_mask has shape {mask.shape} and type {mask.dtype};"
                f" bool of shape ({self.num_envs},) is wanted, with something set."
            )
        return mask.copy()


class RealCarRacing(gymnasium.Env):
    """The real track, seen as the dream is: what was learnt there drives here unchanged.

    `reset(seed=s)` is the track of seed s, after the warm-up; without a seed it is any. The latent is the
    encoder's mean, as everywhere where an agent drives. `models` and `info` are those of CarRacingDream.
    Raises BadInput.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(
        self,
        models: str | Path = PRETRAINED,
        observation: str = "latent",
        render_mode: str | None = None,
    ) -> None:
        self._view = seen = view(models, observation, render_mode)
        self._track = RealTrack(seen.environment.action_repeat, seen.environment.warm_up_frames)
        self.observation_space, self.action_space = seen.observation_space, action_space()
        self.metadata = self.metadata | {"render_fps": seen.render_fps}
        self.render_mode = render_mode
        self._frame: np.ndarray | None = None
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new track."""
        super().reset(seed=seed)
        self._over = False
        track = int(self.np_random.integers(2**31)) if seed is None else seed
        self._memory, self._score = self._view.agent.rnn.start(1), 0.0
        return self._told(self._track.reset(track))

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action outside the action space, ResetNeeded if the episode is over."""
        if self._over:
            raise ResetNeeded("RealCarRacing.step: the episode is over; call reset() first.")
        observation = self._track.step(np.asarray(action))
        held = jnp.asarray(action, jnp.float32)[None]
        self._memory = _remembered(self._view.agent.rnn, self._z, held, self._memory)
        seen, info = self._told(observation)
        terminated = observation.failed or observation.lap_finished
        self._over = terminated or observation.truncated
        return seen, observation.reward, terminated, observation.truncated and not terminated, info

    def render(self) -> np.ndarray | None:
        """What the agent is shown, as a picture."""
        if self._frame is None:
            raise ResetNeeded("RealCarRacing.render: no episode is under way; call reset() first.")
        return None if self.render_mode is None else enlarged(self._frame, RENDERED_SIDE)

    def close(self) -> None:
        self._track.close()

    def _told(self, observation: Observation) -> tuple[np.ndarray, dict[str, Any]]:
        self._frame = frame = shrink(observation.pixels)
        self._z, _ = vae.encode(self._view.agent.vae, jnp.asarray(frame)[None])
        self._score += observation.reward
        info = {
            "score": self._score,
            "frames": observation.frames,
            "lap_finished": observation.lap_finished,
        }
        if self._view.pixels:
            return frame, info
        return np.array(_features(self._z, self._memory)[0]), info


_remembered = eqx.filter_jit(rnn.step)
_features = jax.jit(playing.features)


def checked(actions: np.ndarray, count: int) -> Float[np.ndarray, "batch 3"]:
    """The actions as float32. Raises ValueError where they are none, NaN included."""
    if actions.shape != (count, 3) or actions.dtype.kind not in "fiu":
        raise ValueError(
            f"CarRacingDream.step: actions of shape {actions.shape} and type {actions.dtype};"
            f" floats of shape ({count}, 3) are wanted: steering, gas, brake."
        )
    inside = ((actions >= LOWEST) & (actions <= HIGHEST)).all(axis=1)  # false for NaN, too
    if not inside.all():
        first = actions[np.argmin(inside)].tolist()
        raise ValueError(
            f"CarRacingDream.step: an action is {first};"
            " steering must lie in [-1, 1], gas and brake in [0, 1]."
        )
    return actions.astype(np.float32)


def _only(info: dict[str, np.ndarray]) -> dict[str, Any]:
    """The info of the only environment, as Python's own numbers."""
    return {name: values[0].item() for name, values in info.items()}


def _told(info: dict[str, np.ndarray], whose: Bool[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
    """The infos as Gymnasium's vector environments give them: beside each a mask of whose it is."""
    return {**info, **{f"_{name}": whose.copy() for name in info}}


def _is_whole(found: Any) -> TypeGuard[int]:
    return isinstance(found, int | np.integer) and not isinstance(found, bool) and bool(found >= 0)


def _at_least_one(name: str, found: Any) -> None:
    if not _is_whole(found) or found < 1:
        raise BadInput(f"CarRacingDream: {name}: found {found!r}, wanted a whole number of 1 or more")


def _one_of(name: str, found: Any, wanted: Sequence[Any]) -> None:
    if found not in wanted:
        names = ", ".join(map(str, wanted))
        raise BadInput(f"wm.envs: {name}: found {found!r}, wanted one of {names}")


gymnasium.register(
    "CarRacingDream-v0",
    entry_point="wm.envs:CarRacingDream",
    vector_entry_point="wm.envs:CarRacingDreams",
)
gymnasium.register("RealCarRacing-v0", entry_point="wm.envs:RealCarRacing")
