"""Start states of the dreams: moments of real drives, some of them shortly before an off-track event."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from wm.data.batches import longest
from wm.data.episode import Record
from wm.dream.dynamics import Simulation
from wm.dream.starts import Starts, starts_at
from wm.models import rnn
from wm.search.real_drives import DriveSample, padded_batches

OFF_TRACK_FRAMES = 40  # without a tile, after which a drive counts as off the track
FRAMES_BEFORE = (12, 100)  # of the off-track event: where a dream starts


@dataclass(frozen=True)
class StartMoments:
    """Which moments dreams start from: `per_drive` of each of the sampled drives.

    A share `off_track` of the drives have off-track events, and their moments lie shortly before one.
    """

    drives: DriveSample
    per_drive: int
    off_track: float
    action_repeat: int

    def draw(self) -> tuple[list[Record], int]:
        """The drives, and how many of them, the first ones, are drawn from all training drives.

        The others have off-track events. Where no drive has one, all are drawn from all.
        """
        drives, rng = self.drives, self.drives.generator()
        records = drives.shards.kept(validation=False)
        eventful = [r for r in records if len(self.off_track_events(drives.shards.read(r).rewards))]
        count = round(self.off_track * drives.count) if eventful else 0
        groups = (records, drives.count - count), (eventful, count)
        drawn = [drives.draw_from(group, size, rng) for group, size in groups if size]
        return [record for group in drawn for record in group], drives.count - count

    def anywhere(
        self, rewards: Float[np.ndarray, " steps"], rng: np.random.Generator
    ) -> Int[np.ndarray, " moment"]:
        """Moments of a drive, all steps equally likely."""
        return rng.integers(len(rewards), size=self.per_drive)

    def before_off_track(
        self, rewards: Float[np.ndarray, " steps"], rng: np.random.Generator
    ) -> Int[np.ndarray, " moment"]:
        """Moments of a drive shortly before any of its off-track events, of which there must be one."""
        bounds = [round(frames / self.action_repeat) for frames in FRAMES_BEFORE]
        lead = rng.integers(*bounds, size=self.per_drive)
        return np.maximum(rng.choice(self.off_track_events(rewards), size=self.per_drive) - lead, 0)

    def off_track_events(self, rewards: Float[np.ndarray, " steps"]) -> Int[np.ndarray, " event"]:
        """The first steps of long stretches in which a drive that was visiting tiles visits none."""
        stretch = max(round(OFF_TRACK_FRAMES / self.action_repeat), 1)
        if len(rewards) <= stretch:
            return np.zeros(0, int)
        idle = np.lib.stride_tricks.sliding_window_view(rewards, stretch).max(axis=1)[1:] < 0
        return np.flatnonzero(idle & (rewards[: len(idle)] > 0)) + 1


def start_states(simulation: Simulation, moments: StartMoments, key: PRNGKeyArray) -> Starts:
    """The start states, (moment, ...): the moments are the same for every simulator."""
    drives, states = moments.drives, []
    rng, states_at = np.random.default_rng(drives.seed + 1), eqx.filter_jit(starts_at)
    records, from_all = moments.draw()
    length = longest(drives.shards.kept(validation=False))
    for number, batch, columns in padded_batches(drives.shards, records, length):
        times = []
        for i, record in enumerate(batch):
            choose = moments.anywhere if number + i < from_all else moments.before_off_track
            times.append(choose(columns["reward"][i, : record.length], rng))
        drive_key = jr.fold_in(key, number)
        at = jnp.asarray(np.stack(times))
        states.append(states_at(simulation, rnn.to_batch(columns), at, drive_key))
    flat = [jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), state) for state in states]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *flat)
