"""The dream: an RNN run on its own samples. Pure functions, batched by their leading axes.

The RNN that makes the dream, the simulator, need not be the one whose memory the controller reads,
the watcher: what the watcher makes of the dream is then as right, and as wrong, as what it makes of
reality, and no controller can live on reading the mind that makes its world.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from wm import mdn, rnn
from wm.config import FRAMES_PER_EPISODE, BadInput
from wm.controller import Controller
from wm.episodes import Shards
from wm.rnn import RNN, Masks, Memory

FAILURE_REWARD = -100.0  # what CarRacing-v3 gives for leaving the playfield
FRAME_REWARD = -0.1
LAP_POINTS = 1000.0  # all tiles of a track together
FAR = 2.0  # times as wide as the range of real latents, outside of which a dreamt one has strayed


class State(NamedTuple):
    """Where a dream is: what is seen, and what simulator and watcher remember of what came before."""

    z: Float[Array, "*batch latent"]
    memory: Memory
    watched: Memory


class Outcome(NamedTuple):
    """What one dreamt step brought: points, tiles gone past untouched, and the probability that it ended
    in failure."""

    reward: Float[Array, "*batch"]
    missed: Float[Array, "*batch"]
    failure: Float[Array, "*batch"]


class Episodes(NamedTuple):
    """Whole dreamt episodes: `score` in points, `frames` as real ones are counted, whether all tiles
    were won, how many were gone past untouched, and the probability of a failure on the way."""

    score: Float[Array, " batch"]
    frames: Int[Array, " batch"]
    lap: Bool[Array, " batch"]
    missed: Float[Array, " batch"]
    failure: Float[Array, " batch"]


class Rules(NamedTuple):
    """What holds in a dream: its temperature, after how many steps that won no tile a car counts as stuck
    for good (0: never; dreams free cars that reality does not), and what is taken for the next latent:
    a draw from the mixture ("sampled"), its most likely component's mean ("mode"), its "mean", or a draw
    without the noise of the encoder ("denoised"), of variance `encoder_variance` in each dimension.

    M learns from draws of the encoder's, so that its mixtures hold the encoder's noise beside all that is
    uncertain of the road; at the wheel the agent sees the encoder's mean, which has none.
    """

    temperature: float
    patience: int
    action_repeat: int
    sampling: str = "sampled"
    encoder_variance: tuple[float, ...] = ()

    @property
    def denoised(self) -> bool:
        """Whether latents are seen without the encoder's noise."""
        return self.sampling == "denoised"

    @property
    def described(self) -> dict[str, Any]:
        """As files hold them: the encoder's variance where it is left out."""
        rules = self._asdict()
        return rules if self.denoised else {name: rules[name] for name in rules if name != "encoder_variance"}

    def next_latent(self, mixture: mdn.Mixture, noise: mdn.Noise) -> Float[Array, "*batch latent"]:
        """What follows, by the rules."""
        if self.sampling == "mean":
            return mdn.expectation(mixture)
        if self.sampling == "mode":
            return mdn.mode(mixture)
        if self.denoised:
            mixture = mdn.narrowed(mixture, jnp.asarray(self.encoder_variance))
        return mdn.sample(mixture, noise, self.temperature)


class Starts(NamedTuple):
    """Real moments to dream on from, with both RNNs' memories of the real drive that led there."""

    mu: Float[Array, "*batch latent"]
    logvar: Float[Array, "*batch latent"]
    memory: Memory
    watched: Memory


def step(
    simulator: RNN,
    watcher: RNN,
    state: State,
    action: Float[Array, "*batch action"],
    noise: mdn.Noise,
    rules: Rules,
    masks: Masks | None = None,
) -> tuple[State, Outcome]:
    """One step of the dream under `action`; dropout masks are the simulator's alone."""
    memory = rnn.step(simulator, state.z, action, state.memory, masks)
    expected = simulator.predict(memory.hidden)
    z = rules.next_latent(expected.mixture, noise)
    watched = rnn.step(watcher, state.z, action, state.watched)
    outcome = Outcome(expected.reward, expected.missed, jax.nn.sigmoid(expected.done_logit))
    return State(z, memory, watched), outcome


def unroll(
    simulator: RNN,
    watcher: RNN,
    controller: Controller,
    starts: Starts,
    key: PRNGKeyArray,
    *,
    steps: int,
    rules: Rules,
    dropout: float,
    look: Callable[[Array], Any] = lambda z: None,
) -> tuple[State, Outcome, Float[Array, "time population start action"], Any]:
    """Every controller's dreams from every start, for `steps` steps: (time, population, start).

    Returns where they end, what the steps brought, the actions, and what `look` makes of each latent dreamt.

    `controller` has a leading population axis. All of the population meet the same starts, the
    same noise and the same dropout masks, so that they differ by what they do alone.
    """
    population = controller.bias.shape[0]
    latent_key, mask_key, noise_key = jr.split(key, 3)
    z = starts.mu if rules.denoised else sample_starts(starts, latent_key)
    masks = rnn.draw_masks(simulator, dropout, z.shape[:1], mask_key)
    act = jax.vmap(jax.vmap(Controller.__call__, in_axes=(None, 0, 0)))

    def advance(state: State, key: PRNGKeyArray) -> tuple[State, tuple[Outcome, Array, Any]]:
        noise = mdn.draw_noise(key, z.shape, simulator.mixtures)
        action = act(controller, state.z, state.watched.hidden)
        after, outcome = step(simulator, watcher, state, action, noise, rules, masks)
        return after, (outcome, action, look(after.z))

    start = State(z, starts.memory, starts.watched)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (population, *leaf.shape)), start)
    end, (outcome, actions, looks) = jax.lax.scan(advance, start, jr.split(noise_key, steps))
    return end, outcome, actions, looks


def sample_starts(starts: Starts, key: PRNGKeyArray) -> Float[Array, "*batch latent"]:
    """The starts' latents, drawn from the encoder's (mu, logvar)."""
    return starts.mu + jnp.exp(starts.logvar / 2) * jr.normal(key, starts.mu.shape)


def without_miracles(outcome: Outcome, rules: Rules) -> Outcome:
    """The outcome, time first, in which a car that is stuck for good wins nothing more."""
    if rules.patience == 0:
        return outcome
    idle = FRAME_REWARD * rules.action_repeat
    won = jnp.cumsum(outcome.reward - idle, axis=0)
    lately = won[rules.patience :] - won[: -rules.patience]
    early = jnp.zeros_like(won[: rules.patience], bool)
    stuck = jnp.cumsum(jnp.concatenate([early, lately < rnn.REWARD_UNIT]), axis=0) > 0
    return Outcome(*(jnp.where(stuck, rest, part) for rest, part in zip((idle, 0, 0), outcome, strict=True)))


def returns(outcome: Outcome) -> Float[Array, "*batch"]:
    """Expected return over the time axis (the first): a failure costs its fine and all that follows."""
    survival = jnp.cumprod(1 - outcome.failure, axis=0)
    before = jnp.concatenate([jnp.ones_like(survival[:1]), survival[:-1]])
    return jnp.sum(survival * outcome.reward + (before - survival) * FAILURE_REWARD, axis=0)


def as_episodes(
    outcome: Outcome,
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    *,
    warm_up_frames: int,
) -> Episodes:
    """Whole dreamt episodes by the rules of real ones.

    `outcome` is (time, batch), from the end of the warm-up to the last frame. As on the real
    track the drive ends when all tiles' points, 1,000, are collected.
    """
    outcome, action_repeat = without_miracles(outcome, rules), rules.action_repeat
    tiles_before = warm_up_reward - FRAME_REWARD * warm_up_frames
    tiles = tiles_before + jnp.cumsum(outcome.reward - FRAME_REWARD * action_repeat, axis=0)
    driving = jnp.concatenate([jnp.ones_like(tiles[:1], bool), tiles[:-1] < LAP_POINTS])
    # never to resume once finished, though a predicted reward may be negative
    driving = jnp.cumprod(driving, axis=0).astype(bool)
    masked = jax.tree.map(lambda part: jnp.where(driving, part, 0), outcome)
    steps = jnp.sum(driving, axis=0)
    frames = jnp.minimum(warm_up_frames + action_repeat * steps, FRAMES_PER_EPISODE)
    return Episodes(
        score=warm_up_reward + returns(masked),
        frames=frames,
        lap=tiles[-1] >= LAP_POINTS,
        missed=jnp.sum(masked.missed, axis=0),
        failure=1 - jnp.prod(1 - masked.failure, axis=0),
    )


@eqx.filter_jit
def whole_episodes(
    simulators: Sequence[RNN],
    watcher: RNN,
    controller: Controller,
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    warm_up_frames: int,
    key: PRNGKeyArray,
) -> Episodes:
    """Whole episodes dreamt from first frames, as long as real ones at most.

    The simulators take the episodes in turn, without dropout masks.
    """
    parts = [
        part
        for part, _ in _parts(
            simulators, watcher, controller, mu, logvar, warm_up_reward, rules, warm_up_frames, key
        )
    ]
    order = np.argsort(np.concatenate([np.arange(len(mu))[i :: len(parts)] for i in range(len(parts))]))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *parts)


def steps_of(frames: Any, warm_up_frames: int, rules: Rules) -> Any:
    """The agent's steps in so many frames, the last one cut short if need be."""
    return -(-(frames - warm_up_frames) // rules.action_repeat)


def _parts(
    simulators: Sequence[RNN],
    watcher: RNN,
    controller: Controller,
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    warm_up_frames: int,
    key: PRNGKeyArray,
    look: Callable[[Array], Any] = lambda z: None,
) -> Iterator[tuple[Episodes, Any]]:
    """Each simulator's share of the episodes, and what `look` makes of their latents, time first."""
    steps = steps_of(FRAMES_PER_EPISODE, warm_up_frames, rules)
    population = jax.tree.map(lambda leaf: leaf[None], controller)
    for i, simulator in enumerate(simulators):
        turn = slice(i, None, len(simulators))
        memories = [model.start(len(mu[turn])) for model in (simulator, watcher)]
        starts = Starts(mu[turn], logvar[turn], *memories)
        dreamt = partial(unroll, steps=steps, rules=rules, dropout=0.0, look=look)
        _, outcome, _, looks = dreamt(simulator, watcher, population, starts, jr.fold_in(key, i))
        part = as_episodes(
            jax.tree.map(lambda leaf: leaf[:, 0], outcome),
            warm_up_reward[turn],
            rules,
            warm_up_frames=warm_up_frames,
        )
        yield part, jax.tree.map(lambda leaf: leaf[:, 0], looks)


class Range(NamedTuple):
    """Where real latents lie, dimension by dimension, widened `FAR` times."""

    low: Float[Array, " latent"]
    high: Float[Array, " latent"]

    @staticmethod
    def of(starts: Starts) -> "Range":
        """Of the moments that dreams go on from, three standard deviations of the encoder's included."""
        spread = 3 * jnp.exp(starts.logvar / 2)
        low, high = (starts.mu - spread).min(axis=0), (starts.mu + spread).max(axis=0)
        return Range(*((low + high) / 2 + sign * FAR * (high - low) / 2 for sign in (-1, 1)))

    def left_by(self, z: Float[Array, "*batch latent"]) -> Bool[Array, "*batch"]:
        """Whether any dimension lies outside, or is no number."""
        return ~jnp.all((z >= self.low) & (z <= self.high), axis=-1)


@eqx.filter_jit
def strays(
    simulators: Sequence[RNN],
    watcher: RNN,
    controller: Controller,
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    warm_up_reward: Float[Array, " batch"],
    rules: Rules,
    warm_up_frames: int,
    key: PRNGKeyArray,
    real: Range,
) -> Float[Array, ""]:
    """The share of the steps of `whole_episodes`, dreamt once more, whose latent lies far outside of the
    range of real ones. What is predicted there, no data has ever taught."""
    found, driven = [], []
    for part, outside in _parts(
        simulators, watcher, controller, mu, logvar, warm_up_reward, rules, warm_up_frames, key, real.left_by
    ):
        driving = jnp.arange(len(outside))[:, None] < steps_of(part.frames, warm_up_frames, rules)
        found.append(jnp.sum(outside & driving))
        driven.append(jnp.sum(driving))
    return jnp.sum(jnp.stack(found)) / jnp.sum(jnp.stack(driven))


class FirstSight(NamedTuple):
    """The first moments of drives, as the encoder sees them, and the rewards of their warm-ups."""

    mu: Float[Array, "batch latent"]
    logvar: Float[Array, "batch latent"]
    warm_up_reward: Float[Array, " batch"]

    def draw(self, count: int, seed: int) -> "FirstSight":
        """`count` of them, with replacement."""
        chosen = np.random.default_rng(seed).integers(len(self.mu), size=count)
        return FirstSight(*(part[chosen] for part in self))


def unseen_starts(shards: Shards) -> FirstSight:
    """The first moments of all validation drives."""
    records = [record for record in shards.kept(validation=True) if not record.mirrored]
    seen = [shards.read(record).observations for record in records]
    mu, logvar = (jnp.stack([one[name][0] for one in seen]) for name in ("mu", "logvar"))
    return FirstSight(mu, logvar, jnp.array([record.warm_up_reward for record in records]))


UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)  # what NumPy and its ZIP reader say of damaged files


def read_starts(path: Path, latent_size: int) -> FirstSight:
    """The first moments that `np.savez` wrote. Raises BadInput where they are missing, damaged, of other
    sizes, or not finite."""
    mend = "Run `dvc checkout` or `dvc repro`."
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = [np.asarray(stored[part]) for part in FirstSight._fields]
    except UNREADABLE as error:
        raise BadInput(f"{path}: {error}, wanted first moments of drives. {mend}") from None
    count = len(found[2]) if found[2].ndim else 0
    for name, part, shape in zip(
        FirstSight._fields, found, [(count, latent_size)] * 2 + [(count,)], strict=True
    ):
        if part.shape != shape or part.dtype != np.float32 or not count:
            raise BadInput(f"{path}: {name}: found {part.dtype} {part.shape}, wanted float32 {shape}. {mend}")
        if not np.isfinite(part).all():
            raise BadInput(f"{path}: {name} holds values that are not finite. {mend}")
    return FirstSight(*map(jnp.asarray, found))


def starts_at(
    simulator: RNN,
    watcher: RNN,
    batch: rnn.Batch,
    times: Int[Array, "batch chosen"],
    key: PRNGKeyArray,
    rules: Rules,
) -> Starts:
    """The moments `times` of real episodes, both memories warmed by the drive before, seen as in dreams by
    these rules: (batch, chosen)."""
    rows = jnp.arange(times.shape[0])[:, None]
    z = batch.mu if rules.denoised else rnn.sample_latents(batch, key)

    def warmed(model: RNN) -> Memory:
        memories = rnn.unroll(model, z, batch.action)
        after = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), memories)
        return jax.tree.map(lambda leaf: jnp.where((times > 0)[..., None], leaf[rows, times - 1], 0.0), after)

    return Starts(batch.mu[rows, times], batch.logvar[rows, times], warmed(simulator), warmed(watcher))


def drift(
    model: RNN, batch: rnn.Batch, key: PRNGKeyArray, *, warm: int, steps: int
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """How far the dream strays from the real drive under the same actions, by steps dreamt.

    The memory is warmed by `warm` real steps; from there each step sees the expectation of the
    one before. Root mean square over episodes still running of the latents' error (all
    dimensions together) and of the sum of rewards, the latter in points.
    """
    z = rnn.sample_latents(batch, key)
    start = jax.tree.map(lambda leaf: leaf[-1], rnn.unroll(model, z[:, :warm], batch.action[:, :warm]))

    window = slice(warm, warm + steps)
    actions = jnp.swapaxes(batch.action[:, window], 0, 1)

    def dreamt(memory: Memory, action: Array) -> tuple[Memory, tuple[Array, Array]]:
        z = mdn.expectation(model.predict(memory.hidden).mixture)
        memory = model.advance(model.inputs(z, action), memory)
        return memory, (z, model.predict(memory.hidden).reward)

    latents, rewards = jax.lax.scan(dreamt, start, actions)[1]
    mask = jnp.swapaxes(batch.mask[:, window], 0, 1)
    error = jnp.sum((latents - jnp.swapaxes(batch.mu[:, window], 0, 1)) ** 2, axis=-1)
    real = jnp.swapaxes(batch.reward[:, window], 0, 1)
    points = jnp.cumsum(jnp.where(mask, rewards - real, 0), axis=0) ** 2
    count = jnp.maximum(mask.sum(axis=1), 1)

    def root_mean(values: Array) -> Array:
        return jnp.sqrt(jnp.where(mask, values, 0).sum(axis=1) / count)

    return root_mean(error), root_mean(points)
