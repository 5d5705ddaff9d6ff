"""Dreams as they are played: many episodes side by side, a step at a time, by the rules of whole ones.

What `whole_episodes` reckons with expectations happens here: a failure is drawn, and ends its
episode. Pure functions on arrays; who plays, and through which library, is not known here.
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, UInt8, UInt32

from wm.dream import dynamics
from wm.dream.dynamics import Outcome, Rules, State
from wm.dream.starts import FirstSight
from wm.errors import BadInput
from wm.models import mdn, rnn, vae
from wm.models.rnn import RNN, Memory
from wm.models.vae import VAE
from wm.runtime import model_file, results
from wm.spec import FAILURE_REWARD, FRAME_REWARD, FRAMES_PER_EPISODE, LAP_POINTS

Z_LIMIT = 10.0  # the greatest latent of a real drive is 3; beyond this an observation is cut off


class Chosen(NamedTuple):
    """What chance settles before an episode: its first sight, its simulator, and all that follows."""

    start: UInt32[Array, " batch"]
    simulator: UInt32[Array, " batch"]
    seed: UInt32[Array, " batch"]


class Running(NamedTuple):
    """Episodes under way. `score` is in points, the warm-up's included; `tiles` those won by tiles alone,
    `lately` those of each of the last `patience` steps."""

    key: Key[Array, " batch"]
    simulator: UInt32[Array, " batch"]
    state: State
    steps: Int[Array, " batch"]
    score: Float[Array, " batch"]
    tiles: Float[Array, " batch"]
    lately: Float[Array, "batch patience"]
    stuck: Bool[Array, " batch"]


class Event(NamedTuple):
    """What one step brought: points, and whether and how the episode ended."""

    reward: Float[Array, " batch"]
    failed: Bool[Array, " batch"]
    lap_finished: Bool[Array, " batch"]
    at_horizon: Bool[Array, " batch"]


class Dreams(eqx.Module):
    """The world of an agent's dreams: RNNs that make them, the one that watches, real moments to begin from.

    An episode ends when a failure is drawn, when all tiles' points are collected, or after `horizon_steps`.
    """

    simulators: list[RNN]
    watcher: RNN
    starts: FirstSight
    rules: Rules = eqx.field(static=True)
    warm_up_frames: int = eqx.field(static=True)
    horizon_steps: int = eqx.field(static=True)

    def choose(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """One episode's start, simulator and seed: any of them."""
        start, simulator, seed = (
            int(rng.integers(n)) for n in (len(self.starts.mu), len(self.simulators), 2**32)
        )
        return start, simulator, seed

    def begin(self, chosen: Chosen) -> Running:
        """Episodes before their first action."""
        mu, logvar, score = (part[chosen.start] for part in self.starts)
        key = jax.vmap(jr.key)(chosen.seed)
        steps = jnp.zeros(len(mu), int)
        z = mu if self.rules.denoised else jax.vmap(vae.sample)(mu, logvar, _at(key, steps))
        return Running(
            key=key,
            simulator=chosen.simulator,
            state=State(z, self.simulators[0].start(len(mu)), self.watcher.start(len(mu))),
            steps=steps,
            score=score,
            tiles=score - FRAME_REWARD * self.warm_up_frames,
            lately=jnp.zeros((len(mu), self.rules.patience)),
            stuck=steps > 0,
        )

    def advance(self, running: Running, action: Float[Array, "batch action"]) -> tuple[Running, Event]:
        """The episodes one step on under the actions, and what that brought."""
        steps = running.steps + 1
        noise, fate = self.chance(_at(running.key, steps))
        state, outcome = self._dreamt(running, action, noise)
        idle = FRAME_REWARD * self.rules.action_repeat
        lately = jnp.concatenate([running.lately, outcome.reward[:, None] - idle], axis=1)[:, 1:]
        stuck = running.stuck | self._out_of_patience(lately, steps)
        expected = jnp.where(stuck, idle, outcome.reward)
        failed = ~stuck & (fate < outcome.failure)
        reward = jnp.where(failed, FAILURE_REWARD, expected)
        tiles = running.tiles + jnp.where(failed, 0, expected - idle)
        lap = ~failed & (tiles >= LAP_POINTS)
        after = Running(
            running.key, running.simulator, state, steps, running.score + reward, tiles, lately, stuck
        )
        return after, Event(reward, failed, lap, steps >= self.horizon_steps)

    def play(
        self,
        running: Running,
        action: Float[Array, "batch action"],
        anew: Bool[Array, " batch"],
        chosen: Chosen,
    ) -> tuple[Running, Event]:
        """`advance`, but the episodes of `anew` begin instead, as `chosen`; to them nothing happens."""
        after, event = self.advance(running, action)
        event = Event(*(jnp.where(anew, 0, part).astype(part.dtype) for part in event))
        return where(anew, self.begin(chosen), after), event

    def chance(self, keys: Key[Array, " batch"]) -> tuple[mdn.Noise, Float[Array, " batch"]]:
        """The chance in one step of each episode: the next latent's, and, in [0, 1), the failure's."""
        shape, mixtures = (self.watcher.latent_size,), self.simulators[0].mixtures

        def one(key: PRNGKeyArray) -> tuple[mdn.Noise, Array]:
            noise_key, fate_key = jr.split(key)
            return mdn.draw_noise(noise_key, shape, mixtures), jr.uniform(fate_key)

        return jax.vmap(one)(keys)

    def frames(self, running: Running) -> Int[np.ndarray, " batch"]:
        """Frames driven so far, the warm-up included, as real ones are counted."""
        driven = self.warm_up_frames + self.rules.action_repeat * np.asarray(running.steps)
        return np.minimum(driven, FRAMES_PER_EPISODE)

    def _dreamt(
        self, running: Running, action: Float[Array, "batch action"], noise: mdn.Noise
    ) -> tuple[State, Outcome]:
        """A step of every simulator for all, of which each episode takes its own's."""
        found = [
            dynamics.step(one, self.watcher, running.state, action, noise, self.rules)
            for one in self.simulators
        ]
        rows = jnp.arange(len(action))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[running.simulator, rows], *found)

    def _out_of_patience(
        self, lately: Float[Array, "batch patience"], steps: Int[Array, " batch"]
    ) -> Bool[Array, " batch"]:
        """Whether a car won no tile for as many steps as the rules allow (`without_miracles`)."""
        if self.rules.patience == 0:
            return jnp.zeros(len(steps), bool)
        return (steps > self.rules.patience) & (lately.sum(axis=1) < rnn.REWARD_UNIT)


def _at(keys: Key[Array, " batch"], steps: Int[Array, " batch"]) -> Key[Array, " batch"]:
    """The keys of the episodes' steps; 0 is the beginning."""
    return jax.vmap(jr.fold_in)(keys, steps)


def where(mask: Bool[Array, " batch"], new: Running, old: Running) -> Running:
    """`new` episodes where the mask is set, `old` ones elsewhere."""

    def either(one: Array, other: Array) -> Array:
        return jnp.where(mask.reshape(-1, *[1] * (one.ndim - 1)), one, other)

    return jax.tree.map(either, new, old)


def features(z: Float[Array, "batch latent"], memory: Memory) -> Float[Array, "batch features"]:
    """What a controller looks at: the latent, cut off at +-Z_LIMIT, and the watcher's memory."""
    return jnp.concatenate([jnp.clip(z, -Z_LIMIT, Z_LIMIT), memory.hidden], axis=1)


def pictures(model: VAE, z: Float[Array, "batch latent"]) -> UInt8[Array, "batch 64 64 3"]:
    """What the latents look like, as bytes."""
    return jnp.rint(255 * jax.vmap(model.decode)(z)).astype(jnp.uint8)


def dream_rules(folder: Path, action_repeat: int) -> Rules:
    """The rules of the dream in which the agent in `folder` was evolved, as its dream.json says. Raises
    BadInput for those that its RNN does not fit."""
    path = folder / "dream.json"
    rules = results.read(path, results.DreamOfAnAgent)[0].rules if path.exists() else None
    if rules and (found := len(rules.encoder_variance)):
        wanted = model_file.load(folder / "rnn.eqx", RNN).latent_size
        if found != wanted:
            place = f"{path}: rules.encoder_variance"
            raise BadInput(f"{place}: found {found} numbers, wanted {wanted}, one for each latent")
    return Rules(**rules.model_dump()) if rules else Rules(1.0, 0, action_repeat)
