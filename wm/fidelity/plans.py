"""The dream held against reality: where they part, and what that does to the ranking of controllers.

The exploitation test: the controller drives in the dream on from a moment of a real drive; then the
same actions are carried out on the real track from that very moment, to which the simulator, being
deterministic, is brought by replaying the drive from its start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from wm.agent import summary
from wm.dream.dynamics import Simulation
from wm.dream.starts import starts_at
from wm.dream.unroll import unroll
from wm.models.controller import Controller
from wm.models.rnn import Batch
from wm.params.environment import Environment
from wm.spec import FRAME_REWARD
from wm.track.real_track import RealTrack


@dataclass(frozen=True)
class Plan:
    """A drive's actions up to a moment, (before, 3), and those dreamt from there on, (steps, 3)."""

    seed: int
    before: Float[np.ndarray, "before 3"]
    dreamt: Float[np.ndarray, "steps 3"]


class Carried(NamedTuple):
    """What came of a plan on the real track; once the episode is over, rewards of 0 off the road."""

    reward: Float[np.ndarray, " steps"]
    on_road: Bool[np.ndarray, " steps"]


class Promise(NamedTuple):
    """The actions that a controller takes in dreams, and the rewards it is promised, in points."""

    action: Float[np.ndarray, "batch time 3"]
    reward: Float[np.ndarray, "batch time"]


def plan(
    simulation: Simulation,
    controller: Controller,
    drives: Batch,
    times: Int[np.ndarray, " batch"],
    key: PRNGKeyArray,
    *,
    steps: int,
) -> Promise:
    """A dream of `steps` steps on from the moment `times` of each real drive."""
    start_key, dream_key = jr.split(key)

    @eqx.filter_jit
    def dreamt(simulation: Simulation, controller: Controller, times: Array) -> tuple[Array, Array]:
        starts = starts_at(simulation, drives, times[:, None], start_key)
        starts = jax.tree.map(lambda leaf: leaf[:, 0], starts)
        population = jax.tree.map(lambda leaf: leaf[None], controller)
        dreams = unroll(simulation, population, starts, dream_key, steps=steps)
        return dreams.action[:, 0], dreams.outcome.reward[:, 0]

    found = dreamt(simulation, controller, jnp.asarray(times))
    return Promise(*[np.swapaxes(np.asarray(part), 0, 1) for part in found])


def carry_out(plan: Plan, environment: Environment) -> Carried:
    """The plan's dreamt actions on the real track."""
    track = RealTrack(environment.action_repeat, environment.warm_up_frames)
    observation = track.reset(plan.seed)
    for action in plan.before:
        observation = track.step(action)
    reward, on_road = np.zeros(len(plan.dreamt)), np.zeros(len(plan.dreamt), bool)
    for i, action in enumerate(plan.dreamt):
        if observation.over:
            break
        observation = track.step(action)
        reward[i], on_road[i] = observation.reward, track.on_road
    return Carried(reward, on_road)


def windows(
    promised: Float[np.ndarray, "plan steps"],
    carried: Sequence[Carried],
    *,
    window: int,
    action_repeat: int,
) -> list[dict[str, Any]]:
    """A row for each `window` steps: mean rewards promised and real, how well they agree from plan to
    plan, the share of steps that won tiles in either world, and the share really spent on the road.

    Rewards in points a step. `agreement` is the correlation over the plans of the window's rewards.
    """
    real = np.stack([one.reward for one in carried])
    on_road = np.stack([one.on_road for one in carried])
    idle = 0.5 + action_repeat * FRAME_REWARD  # a step that wins less than half a point won no tile
    rows = []
    for start in range(0, promised.shape[1] - window + 1, window):
        part = slice(start, start + window)
        row = {
            "dream_reward": promised[:, part].mean(),
            "real_reward": real[:, part].mean(),
            "agreement": summary.correlation(promised[:, part].sum(1), real[:, part].sum(1)),
            "dream_winning": (promised[:, part] > idle).mean(),
            "real_winning": (real[:, part] > idle).mean(),
            "real_on_road": on_road[:, part].mean(),
        }
        rows.append({"steps": start + window} | {name: round(float(v), 4) for name, v in row.items()})
    return rows


def perturbed(controller: Controller, scale: float, key: PRNGKeyArray) -> Controller:
    """The controller with noise on its parameters, `scale` times their root mean square."""
    parameters = controller.parameters
    size = scale * jnp.sqrt(jnp.mean(parameters**2))
    return controller.with_parameters(parameters + size * jr.normal(key, parameters.shape))
