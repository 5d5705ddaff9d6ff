"""The dream as a Gymnasium environment, and the real track with the same interface.

`gymnasium.make("wm.envs:CarRacingDream-v0")`, `gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=64)`
and `gymnasium.make("wm.envs:RealCarRacing-v0")` have equal spaces and units, so that a policy trained in one
drives in the other without changes. Actions are those of CarRacing-v3; each lasts `action_repeat` frames.

The observation "latent" is a controller's input: (z, h), the latent of the current frame and the hidden
state of the watcher, the agent's own RNN. "pixels" is the picture, 64 x 64 RGB: the decoded latent in the
dream, the frame itself on the real track.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Array, Bool, Float

from wm.agent.agent import Agent
from wm.agent.driving import start_frames
from wm.agent.folder import AgentFolder
from wm.dream import playing
from wm.dream.playing import Dreams, Running, Setup, StepResult
from wm.dream.starts import StartFrames
from wm.errors import BadInput
from wm.models import rnn, vae
from wm.models.vae import VAE
from wm.spec import ACTION_HIGH, ACTION_LOW, ACTION_SIZE, FPS, FRAME_SHAPE, Timing
from wm.track.real_track import Observation, RealTrack
from wm.track.renderer import shrink
from wm.viewer.pictures import enlarged

PRETRAINED = "models/pretrained"
RENDERED_SIDE = 256

Step = tuple[np.ndarray, Any, Any, Any, dict[str, Any]]


@dataclass(frozen=True)
class View:
    """The agent whose latents an environment observes, or whose decoder makes the pictures."""

    folder: AgentFolder
    agent: Agent
    timing: Timing
    pixels: bool

    @property
    def decoder(self) -> VAE | None:
        """The model that turns latents into observations; None where latents are observed."""
        return self.agent.vae if self.pixels else None

    @property
    def observation_space(self) -> spaces.Box:
        if self.pixels:
            return spaces.Box(0, 255, FRAME_SHAPE, np.uint8)
        latent, hidden = self.agent.rnn.latent_size, self.agent.rnn.hidden_size
        highest = np.array([playing.Z_LIMIT] * latent + [1.0] * hidden, np.float32)
        return spaces.Box(-highest, highest)


def load_view(models: str | Path, observation: str, render_mode: str | None) -> View:
    """The view of the agent in the folder `models`. Raises BadInput."""
    _one_of("observation", observation, ("latent", "pixels"))
    _one_of("render_mode", render_mode, (None, "rgb_array"))
    folder = AgentFolder(Path(models))
    return View(folder, folder.agent(), folder.timing(), pixels=observation == "pixels")


def playable(
    view: View, temperature: float | None, horizon_steps: int | None, start_seeds: Sequence[int] | None
) -> Dreams:
    """The agent's dream, with the options of CarRacingDream. Raises BadInput."""
    dream = view.folder.dream(view.agent)
    if temperature is not None:
        if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
            raise BadInput(f"CarRacingDream: temperature: found {temperature!r}, expected a number above 0")
        dream = replace(dream, rules=dream.rules.replace(temperature=float(temperature)))
    steps = dream.max_steps if horizon_steps is None else horizon_steps
    _at_least_one("horizon_steps", steps)
    return Dreams(dream, starts(view, start_seeds), steps)


def starts(view: View, seeds: Sequence[int] | None) -> StartFrames:
    """The start frames of the real tracks of `seeds`, or those published with the agent. Raises BadInput."""
    if seeds is None:
        return view.folder.starts(view.agent.rnn.latent_size)
    if not isinstance(seeds, Sequence | np.ndarray) or not len(seeds) or not all(map(_is_whole, seeds)):
        found = f"CarRacingDream: start_seeds: found {seeds!r}"
        raise BadInput(f"{found}, expected at least one seed, each a whole number of 0 or more")
    return start_frames(view.agent, seeds, view.timing)


LOW, HIGH = np.array(ACTION_LOW, np.float32), np.array(ACTION_HIGH, np.float32)


def action_space() -> spaces.Box:
    """Steering in [-1, 1], gas and brake in [0, 1], as in CarRacing-v3."""
    return spaces.Box(LOW, HIGH)


class Player:
    """`count` dreams in progress with NumPy inputs and outputs, for the single and the vector environment."""

    def __init__(self, view: View, dreams: Dreams, count: int) -> None:
        self.view, self.dreams, self.count = view, dreams, count
        self.running: Running | None = None

    def begin(
        self, rngs: Sequence[np.random.Generator], begins: Bool[np.ndarray, " batch"]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Observations and infos after new dreams began where `begins` is set, at random by `rngs`."""
        setup = self._setup(rngs, begins)
        self.running, observation = _begun(
            self.dreams, self.view.decoder, self.running, jnp.asarray(begins), setup
        )
        return np.array(observation), self._info(np.zeros(self.count, bool))

    def step(
        self,
        actions: np.ndarray,
        rngs: Sequence[np.random.Generator],
        begins: Bool[np.ndarray, " batch"],
    ) -> Step:
        """The result of one step of all dreams, except of those that begin because `begins` is set.

        Raises ValueError for actions outside the action space, ResetNeeded before the first `begin`.
        """
        if self.running is None:
            raise ResetNeeded("CarRacingDream.step: no episode is in progress; call reset() first")
        action = jnp.asarray(checked_actions(actions, self.count))
        setup = self._setup(rngs, begins)
        self.running, result, observation = _stepped(
            self.dreams, self.view.decoder, self.running, action, jnp.asarray(begins), setup
        )
        failed, lap = np.array(result.failed), np.array(result.lap_finished)
        over, late = failed | lap, self.dreams.at_horizon(self.running)
        return np.array(observation), np.array(result.reward, float), over, late & ~over, self._info(lap)

    def rendered(self) -> list[np.ndarray]:
        """The decoded latents."""
        if self.running is None:
            raise ResetNeeded("CarRacingDream.render: no episode is in progress; call reset() first")
        frames = np.asarray(_decoded(self.view.agent.vae, self.running))
        return [enlarged(frame, RENDERED_SIDE) for frame in frames]

    def _setup(self, rngs: Sequence[np.random.Generator], begins: Bool[np.ndarray, " batch"]) -> Setup:
        chosen = np.zeros((self.count, len(Setup._fields)), np.uint32)
        for i in np.flatnonzero(begins).tolist():
            chosen[i] = self.dreams.choose(rngs[i])
        return Setup(*map(jnp.asarray, chosen.T))

    def _info(self, lap: Bool[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        assert self.running is not None
        score, frames = np.array(self.running.score, float), np.array(self.running.progress.frames)
        return {"score": score, "frames": frames, "lap_finished": lap}


@eqx.filter_jit
def _begun(
    dreams: Dreams, decoder: VAE | None, running: Running | None, begins: Array, setup: Setup
) -> tuple[Running, Array]:
    begun = dreams.begin(setup)
    if running is not None:
        begun = playing.where(begins, begun, running)
    return begun, _observation(decoder, begun)


@eqx.filter_jit
def _stepped(
    dreams: Dreams, decoder: VAE | None, running: Running, actions: Array, begins: Array, setup: Setup
) -> tuple[Running, StepResult, Array]:
    after, result = dreams.advance_or_begin(running, actions, begins, setup)
    return after, result, _observation(decoder, after)


def _observation(decoder: VAE | None, running: Running) -> Array:
    if decoder is None:
        return playing.features(running.state.z, running.state.watched)
    return playing.pictures(decoder, running.state.z)


@eqx.filter_jit
def _decoded(decoder: VAE, running: Running) -> Array:
    return playing.pictures(decoder, running.state.z)


class CarRacingDream(gymnasium.Env):
    """One dream at a time.

    An episode starts from the first frame of a real drive, after its warm-up. It ends `terminated` when a
    failure is drawn (reward -100) or the lap is complete, and `truncated` after `horizon_steps`. `info` holds
    the `score` and the `frames` so far, counted as on the real track, warm-up included, and `lap_finished`.

    `models` is the folder of an agent. Defaults: `temperature` is that of the dreams in which the agent was
    evolved, `horizon_steps` the length of a real episode, and the start frames are those in the folder's
    starts.npz; `start_seeds` names real tracks instead. Raises BadInput.
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
        view = load_view(models, observation, render_mode)
        self.player = Player(view, playable(view, temperature, horizon_steps, start_seeds), 1)
        self.observation_space, self.action_space = view.observation_space, action_space()
        self.metadata = self.metadata | {"render_fps": view.timing.steps_per_second}
        self.render_mode = render_mode
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new dream; the seed determines all of its randomness."""
        super().reset(seed=seed)
        self._over = False
        observation, info = self.player.begin([self.np_random], np.ones(1, bool))
        return observation[0], _scalars(info)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action outside the action space, ResetNeeded if the episode is over."""
        if self._over:
            raise ResetNeeded("CarRacingDream.step: the episode is over; call reset() first")
        result = self.player.step(np.asarray(action)[None], [self.np_random], np.zeros(1, bool))
        (observation,), (reward,), (terminated,), (truncated,), info = result
        self._over = bool(terminated or truncated)
        return observation, float(reward), bool(terminated), bool(truncated), _scalars(info)

    def render(self) -> np.ndarray | None:
        """The dream as a picture."""
        return None if self.render_mode is None else self.player.rendered()[0]


class CarRacingDreams(VectorEnv):
    """Many dreams side by side, in one compiled step; otherwise like CarRacingDream.

    The i-th is seeded with seed + i. After the end of an episode the next step resets it, with a reward of 0,
    and ignores its action (`AutoresetMode.NEXT_STEP`). `reset(options={"reset_mask": mask})` resets only the
    dreams of the mask.
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
        view = load_view(models, observation, render_mode)
        self.player = Player(view, playable(view, temperature, horizon_steps, start_seeds), num_envs)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = view.observation_space, action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = self.metadata | {"render_fps": view.timing.steps_per_second}
        self.render_mode = render_mode
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._over = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New dreams, all or those of the mask; a seed determines all randomness of its dream."""
        begins = self._mask((options or {}).get("reset_mask"))
        for i, own in enumerate(self._seeds(seed)):
            if own is not None and begins[i]:
                self._rngs[i] = seeding.np_random(own)[0]
        self._over = self._over & ~begins
        observations, info = self.player.begin(self._rngs, begins)
        return observations, _masked(info, begins)

    def step(self, actions: np.ndarray) -> Step:
        """Raises ValueError for actions outside the action space, ResetNeeded before the first `reset`."""
        observations, rewards, terminations, truncations, info = self.player.step(
            actions, self._rngs, self._over
        )
        self._over = terminations | truncations
        return observations, rewards, terminations, truncations, _masked(info, np.ones(self.num_envs, bool))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The dreams as pictures."""
        return None if self.render_mode is None else tuple(self.player.rendered())

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if _is_whole(seed):
            return [int(seed) + i for i in range(self.num_envs)]
        if not isinstance(seed, Sequence | np.ndarray) or len(seed) != self.num_envs:
            raise ValueError(
                f"CarRacingDreams.reset: seed: found {seed!r}, expected a whole number,"
                f" or {self.num_envs}, one per dream"
            )
        return [None if own is None else int(own) for own in seed]

    def _mask(self, mask: Any) -> np.ndarray:
        if mask is None or self.player.running is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise ValueError(
                f"CarRacingDreams.reset: reset_mask: found shape {mask.shape} and type {mask.dtype},"
                f" expected bool of shape ({self.num_envs},), at least one of them set"
            )
        return mask.copy()


class RealCarRacing(gymnasium.Env):
    """The real track with the observations of the dream, so that a policy drives in both without changes.

    `reset(seed=s)` is the track of seed s, after the warm-up; without a seed the track is random. The latent
    is the encoder's mean, as for any driving agent. `models` and `info` are those of CarRacingDream.
    Raises BadInput.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(
        self,
        models: str | Path = PRETRAINED,
        observation: str = "latent",
        render_mode: str | None = None,
    ) -> None:
        self._view = view = load_view(models, observation, render_mode)
        self._track = RealTrack(view.timing.action_repeat, view.timing.warm_up_frames)
        self.observation_space, self.action_space = view.observation_space, action_space()
        self.metadata = self.metadata | {"render_fps": view.timing.steps_per_second}
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
        return self._observe(self._track.reset(track))

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action outside the action space, ResetNeeded if the episode is over."""
        if self._over:
            raise ResetNeeded("RealCarRacing.step: the episode is over; call reset() first")
        observation = self._track.step(np.asarray(action))
        taken = jnp.asarray(action, jnp.float32)[None]
        self._memory = _rnn_step(self._view.agent.rnn, self._z, taken, self._memory)
        features, info = self._observe(observation)
        terminated = observation.failed or observation.lap_finished
        self._over = terminated or observation.truncated
        return features, observation.reward, terminated, observation.truncated and not terminated, info

    def render(self) -> np.ndarray | None:
        """The frame that the agent observes."""
        if self._frame is None:
            raise ResetNeeded("RealCarRacing.render: no episode is in progress; call reset() first")
        return None if self.render_mode is None else enlarged(self._frame, RENDERED_SIDE)

    def close(self) -> None:
        self._track.close()

    def _observe(self, observation: Observation) -> tuple[np.ndarray, dict[str, Any]]:
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


_rnn_step = eqx.filter_jit(rnn.step)
_features = jax.jit(playing.features)


def checked_actions(actions: np.ndarray, count: int) -> Float[np.ndarray, "batch 3"]:
    """The actions as float32. Raises ValueError for arrays of another shape or type, for values outside the
    action space, and for NaN."""
    if actions.shape != (count, ACTION_SIZE) or actions.dtype.kind not in "fiu":
        raise ValueError(
            f"CarRacingDream.step: actions: found shape {actions.shape} and type {actions.dtype},"
            f" expected floats of shape ({count}, {ACTION_SIZE}): steering, gas, brake"
        )
    inside = ((actions >= LOW) & (actions <= HIGH)).all(axis=1)  # false for NaN, too
    if not inside.all():
        first = actions[np.argmin(inside)].tolist()
        raise ValueError(
            f"CarRacingDream.step: action: found {first},"
            " expected steering in [-1, 1], gas and brake in [0, 1]"
        )
    return actions.astype(np.float32)


def _scalars(info: dict[str, np.ndarray]) -> dict[str, Any]:
    """The info of a single environment, as Python scalars."""
    return {name: values[0].item() for name, values in info.items()}


def _masked(info: dict[str, np.ndarray], mask: Bool[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
    """The infos in the form of Gymnasium's vector environments: each with a mask of the valid entries."""
    return {**info, **{f"_{name}": mask.copy() for name in info}}


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def _at_least_one(name: str, value: Any) -> None:
    if not _is_whole(value) or value < 1:
        raise BadInput(f"CarRacingDream: {name}: found {value!r}, expected a whole number of 1 or more")


def _one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        names = ", ".join(map(str, choices))
        raise BadInput(f"wm.envs: {name}: found {value!r}, expected one of {names}")


gymnasium.register(
    "CarRacingDream-v0",
    entry_point="wm.envs:CarRacingDream",
    vector_entry_point="wm.envs:CarRacingDreams",
)
gymnasium.register("RealCarRacing-v0", entry_point="wm.envs:RealCarRacing")
