"""Gradient ascent: it follows the gradient of the fitness, and no single dream outweighs the others."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.dream.dynamics import Rules
from wm.dream.starts import Starts
from wm.models.controller import Controller
from wm.models.rnn import RNN
from wm.models.value import Value
from wm.search import ascent
from wm.search.ascent import Ascent
from wm.search.fitness import Objective, Problem, SearchDream, dream_fitness
from wm.search.payoff import Payoff
from wm.search.space import ControllerSpace

STEPS, STARTS = 3, 8
SCHEDULE = Ascent(updates=40, dreams=STARTS, horizon_steps=STEPS, learning_rate=0.05, gradient_clip=100.0)


@pytest.fixture(scope="module")
def problem():
    """Two small RNNs that predict rewards by the actions, and no failure; the next latent is their mean."""
    models = [RNN(latent_size=2, hidden_size=4, mixtures=1, key=jr.key(number)) for number in range(2)]
    models = [eqx.tree_at(lambda m: m.head_bias, model, model.head_bias.at[-1].set(-50)) for model in models]
    mu, memory = jr.normal(jr.key(5), (STARTS, 2)), models[0].start(STARTS)
    network = eqx.nn.MLP(4, "scalar", 3, 1, key=jr.key(6))
    ones, number = jnp.ones(4), jnp.ones(())
    value = Value(network, ones, ones, number, number, lowest=-9 * number, highest=9 * number)
    dreams = [SearchDream(model, Starts(mu, mu - 20, memory, memory), value) for model in models]
    payoff = Payoff(fastest_lap_steps=5, missed_tile_cost=0.0, action_repeat=4)
    objective = Objective(payoff, STARTS, STEPS, 1.0, 0.0, "float32")
    rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=4, sampling="mean")
    return Problem(dreams, models[0], rules, objective)


@pytest.fixture(scope="module")
def space():
    zero = Controller(features=6)
    return ControllerSpace(zero, jnp.eye(6), jnp.zeros(6))


def ascended(problem, space, schedule, start):
    return list(schedule.coordinates(problem, space, start, jr.key(1)))


def test_an_ascent_raises_the_fitness_of_the_same_dreams(problem, space):
    start = jnp.zeros(21)
    path = ascended(problem, space, SCHEDULE, start)
    assert len(path) == SCHEDULE.updates
    before, after = dream_fitness(problem, space, jr.key(2))(0, np.stack([start, path[-1]]))
    assert after > before + 0.2


def test_the_gradient_of_a_dream_is_that_of_its_fitness(problem, space):
    """Central differences of what one dream is worth, with its noise unchanged."""
    start, key = 0.1 * jr.normal(jr.key(3), (21,)), jr.key(4)
    dream = problem.dreams[1]
    found = ascent.gradients(problem, space, dream, problem.watcher, start, key)
    assert found.shape == (STARTS, 21)
    keys, step = jr.split(key, STARTS), 1e-2

    def worth(coordinates, number):
        one = jax.tree.map(lambda leaf: leaf[number : number + 1], dream.starts)
        controller = jax.tree.map(lambda leaf: leaf[None], space.controller(coordinates))
        return problem.worth(dream._replace(starts=one), problem.watcher, controller, keys[number])[0, 0]

    for number, coordinate in ((0, 2), (3, 14), (7, 20)):
        shift = step * jnp.eye(21)[coordinate]
        slope = (worth(start + shift, number) - worth(start - shift, number)) / (2 * step)
        assert found[number, coordinate] == pytest.approx(float(slope), rel=0.02, abs=1e-3)


def test_no_dream_outweighs_the_others_and_a_broken_one_counts_nothing():
    gradients = jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [jnp.inf, 1.0], [jnp.nan, 1.0]])
    kept = ascent.clipped(gradients, 1.0)
    expected = [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert np.allclose(kept, expected)


def test_the_same_key_gives_the_same_ascent(problem, space):
    short = replace(SCHEDULE, updates=2)
    first, again = (ascended(problem, space, short, jnp.zeros(21)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
