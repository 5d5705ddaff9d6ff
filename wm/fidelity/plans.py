"""The exploitation test: dreamt actions, replayed on the real track.

The controller drives in the dream from a moment of a real drive. Then the same actions are replayed on the
real track from that very moment. CarRacing is deterministic, so replaying the real drive from its start
reaches the moment again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from wm import errors
from wm.agent import summary
from wm.data.batches import longest, stacked
from wm.data.episode import Record
from wm.data.shards import Shards
from wm.dream.dynamics import Dream, Simulation
from wm.dream.starts import starts_at
from wm.dream.unroll import unroll
from wm.errors import BadInput
from wm.models import rnn
from wm.models.controller import Controller
from wm.models.rnn import Batch
from wm.params.file import PARAMS
from wm.runtime import workers
from wm.runtime.workers import Pool
from wm.spec import Timing
from wm.track.real_track import RealTrack


class Moments(NamedTuple):
    """Moments of real drives: the drives side by side, their tracks' seeds, and the step of each moment."""

    drives: Batch
    seeds: list[int]
    times: Int[np.ndarray, " batch"]

    def part(self, chosen: slice) -> "Moments":
        """Some of them."""
        drives = jax.tree.map(lambda leaf: leaf[chosen], self.drives)
        return Moments(drives, self.seeds[chosen], self.times[chosen])


@dataclass(frozen=True)
class Plan:
    """The actions of a real drive up to a moment, (before, 3), and those dreamt from there, (steps, 3)."""

    seed: int
    before: Float[np.ndarray, "before 3"]
    dreamt: Float[np.ndarray, "steps 3"]


class Dreamt(NamedTuple):
    """The actions that a controller takes in dreams, and the rewards predicted for them, in points."""

    action: Float[np.ndarray, "batch time 3"]
    reward: Float[np.ndarray, "batch time"]


class Replay(NamedTuple):
    """The replay of a plan; after the end of the episode the rewards are 0, off the road."""

    reward: Float[np.ndarray, " steps"]
    on_road: Bool[np.ndarray, " steps"]


def longer_than(steps: int, records: list[Record], shards: Shards) -> list[Record]:
    """The drives with more than `steps` steps. Raises BadInput if there is none."""
    long = [record for record in records if record.length > steps]
    if not long:
        lengths = errors.listed(sorted((record.length for record in records), reverse=True)[:20]) or "none"
        found = f"{PARAMS}: fidelity.plan_steps: found {steps}"
        expected = f"expected less than the length of a drive in {shards.folder}; they have {lengths}"
        raise BadInput(f"{found}, {expected}")
    return long


def sample_moments(shards: Shards, records: Sequence[Record], count: int, steps: int, seed: int) -> Moments:
    """`count` random moments of these drives with more than `steps` steps to go, drawn with replacement."""
    rng = np.random.default_rng(seed)
    drawn = [records[i] for i in rng.integers(len(records), size=count)]
    times = np.array([rng.integers(record.length - steps) for record in drawn])
    drives = rnn.to_batch(stacked(shards, drawn, longest(drawn)))
    return Moments(drives, [record.seed for record in drawn], times)


def make_plans(
    dream: Dream, controller: Controller, moments: Moments, steps: int, key: PRNGKeyArray
) -> tuple[list[Plan], Float[np.ndarray, "plan steps"]]:
    """A plan from each moment and the rewards that the dream predicts. The simulators take turns."""
    plans, rewards = [], []
    for i, simulation, turn in dream.turns(len(moments.seeds)):
        part = moments.part(turn)
        dreamt_plans = plan(simulation, controller, part, steps, jr.fold_in(key, i))
        rewards.append(dreamt_plans.reward)
        parts = zip(part.seeds, part.drives.action, part.times, dreamt_plans.action, strict=True)
        plans += [Plan(seed, np.asarray(before[:time]), dreamt) for seed, before, time, dreamt in parts]
    return plans, np.concatenate(rewards)


def plan(
    simulation: Simulation, controller: Controller, moments: Moments, steps: int, key: PRNGKeyArray
) -> Dreamt:
    """A dream of `steps` steps from each moment."""
    start_key, dream_key = jr.split(key)
    drives = moments.drives

    @eqx.filter_jit
    def dreamt(simulation: Simulation, controller: Controller, times: Array) -> tuple[Array, Array]:
        starts = starts_at(simulation, drives, times[:, None], start_key)
        starts = jax.tree.map(lambda leaf: leaf[:, 0], starts)
        population = jax.tree.map(lambda leaf: leaf[None], controller)
        dreams = unroll(simulation, population, starts, dream_key, steps=steps)
        return dreams.action[:, 0], dreams.outcome.reward[:, 0]

    dreams = dreamt(simulation, controller, jnp.asarray(moments.times))
    return Dreamt(*[np.swapaxes(np.asarray(part), 0, 1) for part in dreams])


def replay(plan: Plan, timing: Timing) -> Replay:
    """The plan's dreamt actions on the real track."""
    track = RealTrack(timing.action_repeat, timing.warm_up_frames)
    observation = track.reset(plan.seed)
    for action in plan.before:
        observation = track.step(action)
    reward, on_road = np.zeros(len(plan.dreamt)), np.zeros(len(plan.dreamt), bool)
    for i, action in enumerate(plan.dreamt):
        if observation.over:
            break
        observation = track.step(action)
        reward[i], on_road[i] = observation.reward, track.on_road
    return Replay(reward, on_road)


def replay_all(plans: Sequence[Plan], timing: Timing, pool: Pool) -> Iterator[Replay]:
    """The replays of the plans, in their order; the same wherever they are computed."""
    return workers.ordered(pool, partial(replay, timing=timing), plans)


def windows(
    dream_reward: Float[np.ndarray, "plan steps"],
    replays: Sequence[Replay],
    *,
    window: int,
    timing: Timing,
) -> list[dict[str, Any]]:
    """A row for each `window` steps: mean predicted and real rewards, their correlation over the plans, the
    share of steps that reach a new tile in the dream and in reality, and the share spent on the real road.

    Rewards are in points per step; the column of the correlation is `agreement`.
    """
    real = np.stack([replay.reward for replay in replays])
    on_road = np.stack([replay.on_road for replay in replays])
    idle = 0.5 + timing.idle_reward  # a step with less than half a point reaches no tile
    rows = []
    for start in range(0, dream_reward.shape[1] - window + 1, window):
        part = slice(start, start + window)
        row = {
            "dream_reward": dream_reward[:, part].mean(),
            "real_reward": real[:, part].mean(),
            "agreement": summary.correlation(dream_reward[:, part].sum(1), real[:, part].sum(1)),
            "dream_winning": (dream_reward[:, part] > idle).mean(),
            "real_winning": (real[:, part] > idle).mean(),
            "real_on_road": on_road[:, part].mean(),
        }
        rows.append({"steps": start + window} | {name: round(float(v), 4) for name, v in row.items()})
    return rows
