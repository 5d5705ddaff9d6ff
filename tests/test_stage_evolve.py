"""What evolution is told of a dream, and where its dreams start: stages/evolve.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from stages import evolve
from wm import config
from wm.dream import Outcome, Rules

RULES = Rules(temperature=1.0, patience=4, action_repeat=4)
IDLE = -0.4


@pytest.fixture(scope="module")
def settings():
    changes = {"horizon_steps": 20, "rest_steps": 50, "last_steps": 5, "lap_steps": 200}
    return config.section(evolve.Config, "evolve").model_copy(update=changes)


def worth(settings, rewards):
    rewards = jnp.asarray(rewards, jnp.float32)
    outcome, still = Outcome(rewards, jnp.zeros_like(rewards)), jnp.zeros((len(rewards), 3))
    return float(evolve.worth(outcome, still, settings, RULES))


def test_the_rest_of_a_lap_goes_on_as_the_last_steps_went(settings):
    assert worth(settings, [3.0] * 15 + [2.0] * 5) == pytest.approx(15 * 3 + 5 * 2 + 50 * 2)


def test_a_car_that_stands_at_the_end_stands_for_the_rest(settings):
    assert worth(settings, [3.0] * 10 + [IDLE] * 10) == pytest.approx(10 * 3 + 60 * IDLE)


def test_no_more_is_paid_than_the_pace_of_a_lap(settings):
    """5 points a step: 100 tile points in 20 steps, and 4.6 with the frames' cost for the rest."""
    fast = worth(settings, [25 + IDLE] * 20)
    assert fast == pytest.approx(4 * (25 + IDLE) + 50 * (5 + IDLE))
    assert worth(settings, [50 + IDLE] * 20) < fast + 2 * 4  # only the frames of two steps are saved


def test_a_failure_costs_what_was_still_to_come(settings):
    rewards = jnp.full(20, 3.0)
    fatal = Outcome(rewards, jnp.zeros(20).at[2].set(1.0))
    assert float(evolve.worth(fatal, jnp.zeros((20, 3)), settings, RULES)) < worth(settings, rewards) - 100


def test_steering_to_and_fro_costs_what_is_asked_for(settings):
    rewards = jnp.full(20, 3.0)
    swerving = jnp.zeros((20, 3)).at[::2, 0].set(1.0).at[:, 1].set(jnp.arange(20.0))
    costly = settings.model_copy(update={"steering_cost": 2.0})
    outcome = Outcome(rewards, jnp.zeros(20))
    assert float(evolve.worth(outcome, swerving, costly, RULES)) == pytest.approx(
        worth(settings, rewards) - 2 * 19
    )


def test_a_trouble_begins_where_the_tiles_end_for_ten_steps():
    drive = np.full(60, 3.0)
    drive[20:35] = drive[50:] = IDLE  # the last ten steps count, too
    drive[40:45] = IDLE  # a short one does not
    assert evolve.troubles(drive).tolist() == [20, 50]
    assert len(evolve.troubles(np.full(40, IDLE))) == 0
    assert len(evolve.troubles(drive[:5])) == 0


@pytest.mark.parametrize(("share", "near"), [(0.0, 0.3), (1.0, 1.0)])
def test_dreams_start_shortly_before_a_trouble_as_often_as_is_asked_for(settings, share, near):
    drive = np.full(200, 3.0)
    drive[100:] = IDLE
    chosen = settings.model_copy(update={"trouble_share": share, "starts_per_episode": 400})
    times = evolve.moments(drive, chosen, np.random.default_rng(0))
    before = (times >= 75) & (times <= 97)
    assert ((times >= 0) & (times < 200)).all()
    assert before.mean() == 1.0 if near == 1.0 else before.mean() < near


def test_a_drive_without_trouble_is_dreamt_on_from_anywhere(settings):
    chosen = settings.model_copy(update={"trouble_share": 1.0, "starts_per_episode": 400})
    times = evolve.moments(np.full(200, 3.0), chosen, np.random.default_rng(0))
    assert times.min() < 20
    assert times.max() > 180


def test_more_components_than_features_are_refused(settings):
    from wm.dream import Starts
    from wm.rnn import Memory

    memory = Memory(jnp.zeros((5, 3)), jnp.zeros((5, 3)))
    starts = Starts(jnp.zeros((5, 2)), jnp.zeros((5, 2)), memory, memory)
    with pytest.raises(config.BadInput, match=r"evolve\.components: 64"):
        evolve.coordinates(starts, settings, features=5)
