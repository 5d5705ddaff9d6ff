"""What follows moments of an agent's real drives: in reality, and in dreams in which the agent drives."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from wm.data.batches import longest, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream.dynamics import Dream, Simulation
from wm.dream.rules import Rules
from wm.dream.starts import starts_at
from wm.dream.unroll import unroll
from wm.errors import BadInput
from wm.models import rnn
from wm.models.controller import Controller
from wm.models.rnn import MAX_MISSED, Batch
from wm.params.file import PARAMS
from wm.runtime import workers
from wm.runtime.workers import Pool
from wm.spec import Timing
from wm.track.labels import Labels, Recording, replayed_labels

MOST_DRIVES = 60  # so that the comparison takes at most half a minute on two cores
STARTS = 20  # per drive, at equal distances


class LabelledDrives(NamedTuple):
    """Real drives side by side, padded, with the labels of `wm.track.labels` in the order of `Labels`."""

    batch: Batch
    label: Float[np.ndarray, "track time label"]

    @property
    def mask(self) -> np.ndarray:
        """Which steps are real."""
        return np.asarray(self.batch.mask)

    def latents(self, rules: Rules, key: PRNGKeyArray) -> Float[np.ndarray, "track time latent"]:
        """The latents that the agent sees: the encoder's mean where dreams are denoised, else samples."""
        return np.asarray(self.batch.mu if rules.denoised else rnn.sample_latents(self.batch, key))


class Continuation(NamedTuple):
    """What follows start states in one world: the latent after each step, the step's reward in points and its
    missed tiles; in reality also the labels of the state after the step."""

    z: Float[np.ndarray, "track start step latent"]
    reward: Float[np.ndarray, "track start step"]
    missed: Float[np.ndarray, "track start step"]
    label: Float[np.ndarray, "track start step label"] | None = None


def own_records(shards: Shards, source: str, seeds: Sequence[int], steps: int) -> list[Record]:
    """The first `MOST_DRIVES` drives of `source` on the tracks `seeds` with more than `steps` steps.

    Raises BadInput for fewer than two, since probes and classifiers are fitted on other tracks than those on
    which they are used.
    """
    known = set(seeds)
    own = [r for r in shards.kept() if r.source == source and not r.mirrored and r.seed in known]
    long = [record for record in own if record.length > steps]
    if len(long) < 2:
        found = f"{shards.folder}: found {len(long)} drives by the agent itself with more than {steps} steps"
        remedy = f"Raise explore.episodes or lower fidelity.plan_steps in {PARAMS}."
        raise BadInput(f"{found}, expected at least 2. {remedy}")
    return long[:MOST_DRIVES]


def read_labelled(shards: Shards, records: Sequence[Record], timing: Timing, pool: Pool) -> LabelledDrives:
    """The drives as one batch, with labels from their replays."""
    steps = longest(records)
    label = np.zeros((len(records), steps, len(Labels._fields)), np.float32)
    recordings = [Recording(record.seed, shards.read(record).actions) for record in records]
    replays = workers.ordered(pool, partial(replayed_labels, timing=timing), recordings)
    for row, labels in zip(label, replays, strict=True):
        row[: len(labels.speed)] = np.stack(labels, axis=1)
    return LabelledDrives(rnn.to_batch(stacked(shards, records, steps)), label)


def start_times(lengths: Int[np.ndarray, " track"], steps: int) -> Int[np.ndarray, "track start"]:
    """`STARTS` moments of each drive, at equal distances, that have `steps` steps and a state after them."""
    return np.linspace(0, lengths - steps - 1, STARTS, axis=1).round().astype(int)


def real(
    drives: LabelledDrives,
    z: Float[np.ndarray, "track time latent"],
    times: Int[np.ndarray, "track start"],
    steps: int,
) -> Continuation:
    """How the drives, whose latents are `z`, went on. Missed tiles are counted as M learns to count them."""
    missed = np.minimum(np.asarray(drives.batch.missed), MAX_MISSED).astype(np.float32)
    of_actions = partial(following, times=times, steps=steps)
    of_states = partial(following, times=times + 1, steps=steps)
    return Continuation(
        of_states(z), of_actions(np.asarray(drives.batch.reward)), of_actions(missed), of_states(drives.label)
    )


def before(
    values: Float[np.ndarray, "track time *more"], times: Int[np.ndarray, "track start"], steps: int
) -> Float[np.ndarray, "track start step *more"]:
    """The values of the last `steps` steps up to and including the times; before a drive its first value."""
    tracks = np.arange(len(times))[:, None, None]
    return values[tracks, np.maximum(times[..., None] + np.arange(1 - steps, 1), 0)]


def following(
    values: Float[np.ndarray, "track time *more"], times: Int[np.ndarray, "track start"], steps: int
) -> Float[np.ndarray, "track start step *more"]:
    """The values of `steps` steps from the times on."""
    tracks = np.arange(len(times))[:, None, None]
    return values[tracks, times[..., None] + np.arange(steps)]


def dreamt(
    dream: Dream,
    controller: Controller,
    drives: Batch,
    times: Int[np.ndarray, "track start"],
    steps: int,
    key: PRNGKeyArray,
) -> Continuation:
    """How dreams go on from these moments; the simulators generate them in turn."""
    shape = (*times.shape, steps)
    z = np.zeros((*shape, dream.watcher.latent_size), np.float32)
    reward, missed = np.zeros(shape), np.zeros(shape)
    for i, simulation, turn in dream.turns(times.shape[1]):
        starts = jnp.asarray(times[:, turn])
        part = _dreamt(simulation, controller, drives, starts, jr.fold_in(key, i), steps)
        for whole, values in zip((z, reward, missed), part, strict=True):
            whole[:, turn] = values
    return Continuation(z, reward, missed)


@eqx.filter_jit
def _dreamt(
    simulation: Simulation,
    controller: Controller,
    drives: Batch,
    times: Int[Array, "track start"],
    key: PRNGKeyArray,
    steps: int,
) -> tuple[Array, Array, Array]:
    start_key, dream_key = jr.split(key)
    starts = starts_at(simulation, drives, times, start_key)
    starts = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), starts)
    population = jax.tree.map(lambda leaf: leaf[None], controller)
    dreams = unroll(simulation, population, starts, dream_key, steps=steps, observe=lambda z: z)

    def by_track(values: Array) -> Array:
        """From (step, 1, track x start, ...) to (track, start, step, ...)."""
        return jnp.moveaxis(values[:, 0], 0, 1).reshape(*times.shape, *values.shape[:1], *values.shape[3:])

    return by_track(dreams.observed), by_track(dreams.outcome.reward), by_track(dreams.outcome.missed)
