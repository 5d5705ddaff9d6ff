"""The fitness of dreams: the cap at a lap's share, missed tiles, the conditional value at risk, their sum."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.dream.dynamics import Outcome, Rules
from wm.dream.starts import Starts
from wm.models.controller import Controller
from wm.models.rnn import REWARD_UNIT, RNN
from wm.models.value import Value
from wm.search.fitness import Objective, Problem, SearchDream, conditional_value_at_risk, dream_fitness
from wm.search.payoff import Payoff
from wm.search.space import ControllerSpace

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
    assert np.allclose(paid, [3.0, 4.6, 0.6, IDLE - 10.0])  # at most five tiles count in each step


def test_a_dream_pays_for_each_missed_tile():
    missed = jnp.array([-0.1, 0.0, 0.25, 1.0, 7.5])
    assert np.allclose(PAYOFF.of_missed(missed), [0.0, 0.0, 0.5, 2.0, 15.0])


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


def network(reward, missed):
    """A small RNN that predicts in every step this reward, in points, these missed tiles, and no failure."""
    model = RNN(latent_size=2, hidden_size=3, mixtures=1, key=jr.key(0))
    bias = model.head_bias.at[-3:].set(jnp.array([reward / REWARD_UNIT, missed, -50.0]))
    weight = model.head_weight.at[:, -3:].set(0)
    return eqx.tree_at(lambda m: (m.head_bias, m.head_weight), model, (bias, weight))


def constant(points, hidden_size):
    """A terminal value whose bounds leave it no other result."""
    network = eqx.nn.MLP(hidden_size, "scalar", 1, 1, key=jr.key(0))
    hidden, number, bound = jnp.ones(hidden_size), jnp.ones(()), jnp.array(points)
    return Value(network, hidden, hidden, number, number, lowest=bound, highest=bound)


@pytest.mark.parametrize(("missed", "charged"), [(0.0, 0.0), (0.05, 0.5), (1.0, 10.0)])
def test_the_fitness_is_the_mean_over_both_rnns_of_rewards_less_missed_tiles_plus_the_terminal_value(
    missed, charged
):
    """Ten steps of 1 point in one RNN's dreams, of 3 points in the other's; terminal values 20 and 60."""
    models = network(1.0, missed), network(3.0, missed)
    z, memory = jnp.zeros((8, 2)), models[0].start(8)
    starts, values = Starts(z, z, memory, memory), (20.0, 60.0)
    dreams = [
        SearchDream(model, starts, constant(points, memory.hidden.shape[-1]))
        for model, points in zip(models, values, strict=True)
    ]
    rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=4)
    objective = Objective(
        PAYOFF, rollouts=8, horizon_steps=10, cvar_level=1.0, dropout=0.0, precision="float32"
    )
    space = ControllerSpace(Controller(features=5), jnp.eye(5), jnp.zeros(5))
    fitness = dream_fitness(Problem(dreams, models[0], rules, objective), space, jr.key(1))
    expected = 10 * (1 + 3) / 2 - PAYOFF.missed_tile_cost * charged + (20 + 60) / 2
    assert np.allclose(fitness(0, np.zeros((4, 18))), expected)
