"""Start states of the dreams: moments of real drives, some of them around an off-track event."""

from collections.abc import Sequence
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
from wm.search.real_drives import DriveSample, in_whole_batches, padded_batches

OFF_TRACK_FRAMES = 40  # without a tile, after which a drive counts as off the track


@dataclass(frozen=True)
class StartMoments:
    """Which moments dreams start from: `per_drive` of each of the sampled drives.

    A share `off_track` of the drives have off-track events, and their moments lie around one: `lead` is the
    (fewest, most) frames from a moment to the event, negative for moments after it.
    """

    drives: DriveSample
    per_drive: int
    off_track: float
    lead: Sequence[int]
    action_repeat: int

    def draw(self) -> tuple[list[Record], int]:
        """The drives, and how many of them, the first ones, are drawn from all training drives.

        The others have off-track events. Where no drive has one, all are drawn from all.
        """
        drives, rng = self.drives, self.drives.generator()
        records = drives.shards.kept(validation=False)
        eventful = [r for r in records if len(self.off_track_events(drives.shards.read(r).rewards))]
        total = in_whole_batches(drives.count)
        count = round(self.off_track * total) if eventful else 0
        groups = (records, total - count), (eventful, count)
        drawn = [drives.draw_from(group, size, rng) for group, size in groups if size]
        return [record for group in drawn for record in group], total - count

    def anywhere(
        self, rewards: Float[np.ndarray, " steps"], rng: np.random.Generator
    ) -> Int[np.ndarray, " moment"]:
        """Moments of a drive, all steps equally likely."""
        return rng.integers(len(rewards), size=self.per_drive)

    def around_off_track(
        self, rewards: Float[np.ndarray, " steps"], rng: np.random.Generator
    ) -> Int[np.ndarray, " moment"]:
        """Moments of a drive around any of its off-track events, of which there must be one."""
        fewest, most = (round(frames / self.action_repeat) for frames in self.lead)
        lead = rng.integers(fewest, max(most, fewest + 1), size=self.per_drive)
        events = rng.choice(self.off_track_events(rewards), size=self.per_drive)
        return np.clip(events - lead, 0, len(rewards) - 1)

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
            choose = moments.anywhere if number + i < from_all else moments.around_off_track
            times.append(choose(columns["reward"][i, : record.length], rng))
        drive_key = jr.fold_in(key, number)
        at = jnp.asarray(np.stack(times))
        states.append(states_at(simulation, rnn.to_batch(columns), at, drive_key))
    flat = [jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), state) for state in states]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *flat)
