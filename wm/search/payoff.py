"""What a step may earn: the reward, capped at the pace of a fast lap, less a cost for each missed tile.

A dream has a fixed number of steps, so a controller gains by driving faster; on the track, speed beyond that
of a good lap gains little and costs control. So the points of a dream, and of the drives that the terminal
value is fitted to, are bounded by their share of a lap of `fastest_lap_steps`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from wm.dream.dynamics import Outcome
from wm.models.rnn import MAX_MISSED
from wm.spec import LAP_POINTS, idle_reward


@dataclass(frozen=True)
class Payoff:
    """`missed_tile_cost` is in points per tile, in addition to the reward lost."""

    fastest_lap_steps: int
    missed_tile_cost: float
    action_repeat: int

    @property
    def idle(self) -> float:
        """Reward of a step that visits no tile."""
        return idle_reward(self.action_repeat)

    @property
    def pace(self) -> float:
        """Reward per step of the fastest lap."""
        return LAP_POINTS / self.fastest_lap_steps + self.idle

    def of_drive(
        self, rewards: Float[np.ndarray, " time"], missed: Int[np.ndarray, " time"]
    ) -> Float[np.ndarray, " time"]:
        """What each step of a real drive pays."""
        return np.minimum(rewards, self.pace) - self.missed_tile_cost * np.minimum(missed, MAX_MISSED)

    def of_missed(self, missed: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """The cost of a dream's missed tiles; their number is M's expectation."""
        return self.missed_tile_cost * jnp.maximum(missed, 0)

    def within_lap(self, outcome: Outcome, horizon_steps: int) -> Outcome:
        """The outcome of dreams, time first, zero after a dream has earned the horizon's share of a lap."""
        share = LAP_POINTS * horizon_steps / self.fastest_lap_steps
        earned = jnp.cumsum(outcome.reward - self.idle, axis=0)
        before = jnp.concatenate([jnp.zeros_like(earned[:1]), earned[:-1]])
        driving = jnp.cumprod(before < share, axis=0).astype(bool)
        return jax.tree.map(lambda part: jnp.where(driving, part, 0), outcome)
