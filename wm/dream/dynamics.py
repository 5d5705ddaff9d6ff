"""The dynamics of a dream: one step of the RNNs, and the bookkeeping by which an episode ends.

Pure functions, batched by their leading axes. Evolution, scoring, the Gymnasium environments, `wm play` and
`wm watch` all use these; `web/model.js` mirrors them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from wm.dream.rules import Rules
from wm.models import mdn, rnn
from wm.models.rnn import RNN, Masks, Memory
from wm.spec import FRAME_REWARD, FRAMES_PER_EPISODE, LAP_POINTS, TILE_POINTS, Timing, idle_reward


class State(NamedTuple):
    """The state of a dream: the current latent as the agent sees it and as the simulator does, and the
    memories of simulator and watcher. The two latents differ only if the dream is denoised."""

    z: Float[Array, "*batch latent"]
    noisy: Float[Array, "*batch latent"]
    memory: Memory
    watched: Memory


class Outcome(NamedTuple):
    """The outcome of a step: reward in points, number of missed tiles, probability of a failure."""

    reward: Float[Array, "*batch"]
    missed: Float[Array, "*batch"]
    failure: Float[Array, "*batch"]


class Simulation(eqx.Module):
    """The RNN that generates a dream, the agent's own RNN, which watches it, and the rules.

    `dropout` is the rate of the simulator's dropout masks, which stay the same for a whole dream.
    """

    simulator: RNN
    watcher: RNN
    rules: Rules = eqx.field(static=True)
    dropout: float = eqx.field(default=0.0, static=True)


class Dream(eqx.Module):
    """What an agent's dreams are made of: the simulators, which generate the episodes in turn, its own RNN,
    the rules, and the frames of the warm-up before each episode."""

    simulators: list[RNN]
    watcher: RNN
    rules: Rules = eqx.field(static=True)
    warm_up_frames: int = eqx.field(static=True)

    @property
    def simulations(self) -> list[Simulation]:
        """One for each simulator."""
        return [Simulation(simulator, self.watcher, self.rules) for simulator in self.simulators]

    def turns(self, count: int) -> Iterator[tuple[int, Simulation, slice]]:
        """The simulators that generate `count` dreams in turn: number, simulation, and which of the dreams.
        With fewer dreams than simulators the last ones generate none and are left out."""
        for i, simulation in enumerate(self.simulations[:count]):
            yield i, simulation, slice(i, None, len(self.simulators))

    @property
    def max_steps(self) -> int:
        """Steps of the longest possible episode."""
        return Timing(self.rules.action_repeat, self.warm_up_frames).max_steps


def step(
    simulation: Simulation,
    state: State,
    action: Float[Array, "*batch action"],
    noise: mdn.Noise,
    masks: Masks | None = None,
) -> tuple[State, Outcome]:
    """One step of the dream under `action`; the dropout masks apply to the simulator only."""
    memory = rnn.step(simulation.simulator, state.noisy, action, state.memory, masks)
    expected = simulation.simulator.predict(memory.hidden)
    z, noisy = next_latent(expected.mixture, noise, simulation.rules)
    watched = rnn.step(simulation.watcher, state.z, action, state.watched)
    outcome = Outcome(expected.reward, expected.missed, jax.nn.sigmoid(expected.done_logit))
    return State(z, noisy, memory, watched), outcome


def next_latent(
    mixture: mdn.Mixture, noise: mdn.Noise, rules: Rules
) -> tuple[Float[Array, "*batch latent"], Float[Array, "*batch latent"]]:
    """The next latent, chosen from the mixture by the rules: for the agent and for the simulator."""
    if rules.denoised:
        variance = jnp.asarray(rules.encoder_variance)
        z, noisy = mdn.sample_denoised(mixture, noise, rules.temperature, variance)
        return z, noisy if rules.noisy_simulator else z
    if rules.sampling == "mean":
        z = mdn.expectation(mixture)
    elif rules.sampling == "mode":
        z = mdn.mode(mixture)
    else:
        z = mdn.sample(mixture, noise, rules.temperature)
    return z, z


def first_latent(
    mu: Float[Array, "*batch latent"], sampled: Float[Array, "*batch latent"], rules: Rules
) -> tuple[Float[Array, "*batch latent"], Float[Array, "*batch latent"]]:
    """A real frame's latent, from the encoder's mean and a sample of its distribution: as the agent sees it,
    and as the simulator does."""
    z = mu if rules.denoised else sampled
    return z, sampled if rules.noisy_simulator else z


class Progress(NamedTuple):
    """The bookkeeping of an episode. `tile_points` leaves out the cost of frames; `missed` is the number of
    missed tiles; `recent` holds the tile points of each of the last `stuck_steps` steps."""

    steps: Int[Array, "*batch"]
    frames: Int[Array, "*batch"]
    tile_points: Float[Array, "*batch"]
    missed: Float[Array, "*batch"]
    recent: Float[Array, "*batch stuck_steps"]
    stuck: Bool[Array, "*batch"]
    lap: Bool[Array, "*batch"]


def begin(score: Float[Array, "*batch"], frames: int | Int[Array, "*batch"], rules: Rules) -> Progress:
    """The progress of an episode that has `score` points after `frames` frames."""
    steps = jnp.zeros(score.shape, int)
    never = jnp.zeros(score.shape, bool)
    recent = jnp.zeros((*score.shape, rules.stuck_steps))
    points = score - FRAME_REWARD * frames
    return Progress(steps, steps + frames, points, jnp.zeros(score.shape), recent, never, never)


def count(progress: Progress, outcome: Outcome, rules: Rules) -> tuple[Progress, Outcome]:
    """The progress after one more step, and the step's outcome as a real episode would count it.

    A lap is complete with all tiles' points, and nothing counts after it. A car that has missed whole tiles
    finds none after the points of the others: as on the track, it then drives for nothing until the last
    frame. It is stuck, like one without a new tile for more than `stuck_steps` steps: it collects no more
    tiles, misses none, and does not fail.
    """
    idle, driving = idle_reward(rules.action_repeat), ~progress.lap
    steps = progress.steps + driving
    recent = jnp.concatenate([progress.recent, (outcome.reward - idle)[..., None]], axis=-1)[..., 1:]
    stuck = progress.stuck
    if rules.stuck_steps:
        stuck = stuck | ((steps > rules.stuck_steps) & (recent.sum(axis=-1) < rnn.REWARD_UNIT))
    rest = Outcome(*(jnp.where(driving, part, 0) for part in (idle, 0, 0)))
    counts = driving & ~stuck
    parts = zip(outcome, rest, strict=True)
    counted = Outcome(*(jnp.where(counts, dreamt, uncounted) for dreamt, uncounted in parts))
    frames = jnp.minimum(progress.frames + rules.action_repeat * driving, FRAMES_PER_EPISODE)
    tile_points = progress.tile_points + jnp.where(driving, counted.reward - idle, 0)
    missed = progress.missed + jnp.where(driving, counted.missed, 0)
    whole = jnp.floor(jnp.maximum(missed, 0))
    passed = tile_points + TILE_POINTS * whole >= LAP_POINTS
    lap, stuck = progress.lap | passed & (whole == 0), stuck | passed & (whole > 0)
    return Progress(steps, frames, tile_points, missed, recent, stuck, lap), counted


def count_all(progress: Progress, outcome: Outcome, rules: Rules) -> tuple[Progress, Outcome]:
    """`count` for all steps of an outcome, (time, ...)."""

    def count_step(progress: Progress, outcome: Outcome) -> tuple[Progress, Outcome]:
        return count(progress, outcome, rules)

    return jax.lax.scan(count_step, progress, outcome)


def apply_stuck_rule(outcome: Outcome, rules: Rules) -> Outcome:
    """The outcome, (time, ...), under the stuck rule alone, for dreams that start during a drive."""
    if rules.stuck_steps == 0:
        return outcome
    far_from_lap = jnp.full(outcome.reward.shape[1:], -jnp.inf)
    return count_all(begin(far_from_lap, 0, rules), outcome, rules)[1]
