"""The fitness of dreams: the cap at a lap's share, and the conditional value at risk."""

import jax.numpy as jnp
import numpy as np

from wm.dream.dynamics import Outcome
from wm.search.fitness import conditional_value_at_risk
from wm.search.payoff import Payoff

IDLE = -0.4
PAYOFF = Payoff(fastest_lap_steps=200, missed_tile_cost=2.0, action_repeat=4)


def test_a_dream_pays_at_most_the_horizons_share_of_a_lap():
    """25 tile points per step: the 100 of 20 steps are earned after 4 steps; later steps count nothing."""
    rewards = jnp.full(20, 25 + IDLE)
    capped = PAYOFF.within_lap(Outcome(rewards, jnp.ones(20), jnp.full(20, 0.1)), 20)
    assert capped.reward.tolist() == rewards[:4].tolist() + [0] * 16
    assert capped.missed.tolist() == [1] * 4 + [0] * 16
    assert capped.failure[4:].tolist() == [0] * 16
    slow = Outcome(jnp.full(20, 4.0), jnp.zeros(20), jnp.zeros(20))
    assert PAYOFF.within_lap(slow, 20).reward.tolist() == slow.reward.tolist()


def test_a_real_drives_step_pays_no_more_than_the_pace_less_its_missed_tiles():
    assert PAYOFF.pace == 5 + IDLE
    paid = PAYOFF.of_drive(np.array([3.0, 9.0, 5.0, IDLE]), np.array([0, 0, 2, 20]))
    assert np.allclose(paid, [3.0, 4.6, 0.6, IDLE - 6.0])  # three tiles count in each step


def test_a_dream_pays_for_three_missed_tiles_at_most():
    missed = jnp.array([-0.1, 0.0, 0.25, 1.0, 7.5])
    assert np.allclose(PAYOFF.of_missed(missed), [0.0, 0.0, 0.5, 2.0, 6.0])


def test_fitness_is_the_mean_plus_the_worst_differences_from_the_populations_dreams():
    steady, rash, broken = [8.0, 2, 8, 2], [13.0, 2, 9, -2], [9.0, 2, np.inf, 2]
    worth = jnp.array([steady, rash, broken])
    assert conditional_value_at_risk(worth[:2], 1.0).tolist() == [5.0, 5.5]
    usual = np.mean([steady, rash], axis=0)  # 10.5, 2, 8.5, 0
    fitness = conditional_value_at_risk(worth, 0.5)
    assert fitness[:2].tolist() == [usual.mean() + (-2.5 - 0.5) / 2, usual.mean() + (-2 + 0) / 2]
    assert np.isnan(fitness[2])
    lowest = conditional_value_at_risk(worth[:2], 0.01)
    assert lowest.tolist() == [usual.mean() - 2.5, usual.mean() - 2]
