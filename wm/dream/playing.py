"""Playable dreams: many episodes side by side, advanced one step at a time under anyone's actions.

`whole_episodes` computes an expectation over failures; here a failure is drawn, and it ends the episode.
Pure functions on arrays, independent of the library and the driver that use them.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, UInt8, UInt32

from wm.dream import dynamics
from wm.dream.dynamics import Dream, Outcome, Progress, Rules, State
from wm.dream.starts import StartFrames
from wm.models import latent, mdn
from wm.models.rnn import Memory
from wm.models.vae import VAE
from wm.spec import FAILURE_REWARD

Z_LIMIT = 10.0  # the largest latent of a real drive is 3; observations are clipped here


class Setup(NamedTuple):
    """The random choices before an episode: index of the start frame, of the simulator, and a seed."""

    start: UInt32[Array, " batch"]
    simulator: UInt32[Array, " batch"]
    seed: UInt32[Array, " batch"]


class Running(NamedTuple):
    """Episodes in progress. `score` is in points, the warm-up's reward included."""

    key: Key[Array, " batch"]
    simulator: UInt32[Array, " batch"]
    state: State
    progress: Progress
    score: Float[Array, " batch"]


class StepResult(NamedTuple):
    """The reward of a step in points, and whether and how the step ended the episode."""

    reward: Float[Array, " batch"]
    failed: Bool[Array, " batch"]
    lap_finished: Bool[Array, " batch"]


class Dreams(eqx.Module):
    """A dream to be played from `starts`.

    An episode ends when a failure is drawn, when the lap is complete, or after `horizon_steps`.
    """

    dream: Dream
    starts: StartFrames
    horizon_steps: int = eqx.field(static=True)

    def choose(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """A random setup of one episode: start, simulator and seed."""
        start, simulator, seed = (
            int(rng.integers(n)) for n in (len(self.starts.mu), len(self.dream.simulators), 2**32)
        )
        return start, simulator, seed

    def begin(self, setup: Setup) -> Running:
        """Episodes before their first action."""
        dream = self.dream
        mu, logvar, score = (part[setup.start] for part in self.starts)
        key = jax.vmap(jr.key)(setup.seed)
        progress = dynamics.begin(score, dream.warm_up_frames, dream.rules)
        sampled = jax.vmap(latent.sample)(mu, logvar, _at(key, progress.steps))
        first = dynamics.first_latent(mu, sampled, dream.rules)
        memories = [model.start(len(mu)) for model in (dream.simulators[0], dream.watcher)]
        return Running(key, setup.simulator, State(*first, *memories), progress, score)

    def advance_or_begin(
        self,
        running: Running,
        action: Float[Array, "batch action"],
        begins: Bool[Array, " batch"],
        setup: Setup,
    ) -> tuple[Running, StepResult]:
        """`advance`, except that the episodes of `begins` begin, as in `setup`, with a result of 0."""
        after, result = advance(self.dream, running, action)
        result = StepResult(*(jnp.where(begins, 0, part).astype(part.dtype) for part in result))
        return where(begins, self.begin(setup), after), result

    def at_horizon(self, running: Running) -> Bool[np.ndarray, " batch"]:
        """Whether the episodes have had their last step."""
        return np.asarray(running.progress.steps) >= self.horizon_steps


def advance(
    dream: Dream, running: Running, action: Float[Array, "batch action"]
) -> tuple[Running, StepResult]:
    """The episodes after one more step under the actions, and the step's result."""
    noise, draw = chance(dream, _at(running.key, running.progress.steps + 1))
    steps = [dynamics.step(simulation, running.state, action, noise) for simulation in dream.simulations]
    rows = jnp.arange(len(action))  # every simulator steps all episodes; each takes its own simulator's step
    state, outcome = jax.tree.map(lambda *leaves: jnp.stack(leaves)[running.simulator, rows], *steps)
    return settle(running._replace(state=state), outcome, draw, dream.rules)


def chance(dream: Dream, keys: Key[Array, " batch"]) -> tuple[mdn.Noise, Float[Array, " batch"]]:
    """The random numbers of a step: of the next latent, and, in [0, 1), of the failure."""
    shape, mixtures = (dream.watcher.latent_size,), dream.simulators[0].mixtures

    def of_one(key: PRNGKeyArray) -> tuple[mdn.Noise, Array]:
        noise_key, draw_key = jr.split(key)
        return mdn.draw_noise(noise_key, shape, mixtures), jr.uniform(draw_key)

    return jax.vmap(of_one)(keys)


def settle(
    running: Running, outcome: Outcome, draw: Float[Array, " batch"], rules: Rules
) -> tuple[Running, StepResult]:
    """The episodes after a step's outcome; one fails where `draw` lies below the probability of a failure."""
    progress, counted = dynamics.count(running.progress, outcome, rules)
    failed = draw < counted.failure
    reward = jnp.where(failed, FAILURE_REWARD, counted.reward)
    after = running._replace(progress=progress, score=running.score + reward)
    return after, StepResult(reward, failed, progress.lap & ~failed)


def _at(keys: Key[Array, " batch"], steps: Int[Array, " batch"]) -> Key[Array, " batch"]:
    """The keys of the episodes' steps; step 0 is the start."""
    return jax.vmap(jr.fold_in)(keys, steps)


def where(mask: Bool[Array, " batch"], new: Running, old: Running) -> Running:
    """`new` episodes where the mask is set, `old` ones elsewhere."""

    def select(new_leaf: Array, old_leaf: Array) -> Array:
        return jnp.where(mask.reshape(-1, *[1] * (new_leaf.ndim - 1)), new_leaf, old_leaf)

    return jax.tree.map(select, new, old)


def features(z: Float[Array, "batch latent"], memory: Memory) -> Float[Array, "batch features"]:
    """A controller's input: the latent, clipped at +-Z_LIMIT, and the watcher's hidden state."""
    return jnp.concatenate([jnp.clip(z, -Z_LIMIT, Z_LIMIT), memory.hidden], axis=1)


def pictures(model: VAE, z: Float[Array, "batch latent"]) -> UInt8[Array, "batch 64 64 3"]:
    """The decoded latents as bytes."""
    return jnp.rint(255 * jax.vmap(model.decode)(z)).astype(jnp.uint8)
