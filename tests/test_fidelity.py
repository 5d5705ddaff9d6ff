import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.dream.dynamics import Rules, Simulation
from wm.fidelity import plans
from wm.fidelity.plans import Carried, Plan
from wm.models.controller import Controller
from wm.models.rnn import RNN, Batch
from wm.params.environment import Environment
from wm.track import rollout
from wm.track.erratic import Erratic
from wm.track.real_track import RealTrack

ENVIRONMENT = Environment(action_repeat=4, warm_up_frames=50)


@pytest.fixture(scope="module")
def drive():
    return rollout.drive_alone(RealTrack(4, 50), Erratic(np.random.default_rng(3)), 3, "erratic")


@pytest.mark.parametrize("moment", [0, 30])
def test_a_drive_carried_out_from_its_middle_goes_on_as_it_did(drive, moment):
    plan = Plan(3, drive.actions[:moment], drive.actions[moment : moment + 25])
    found = plans.carry_out(plan, ENVIRONMENT)
    assert np.allclose(found.reward, drive.rewards[moment : moment + 25], atol=1e-4)


def test_a_plan_past_the_end_of_an_episode_brings_nothing(drive):
    plan = Plan(3, drive.actions, np.ones((5, 3), np.float32))
    found = plans.carry_out(plan, ENVIRONMENT)
    assert not found.reward.any()
    assert not found.on_road.any()


def test_the_car_starts_on_the_road_and_full_steering_takes_it_off():
    plan = Plan(5, np.zeros((0, 3), np.float32), np.tile(np.array([1, 0.6, 0], np.float32), (40, 1)))
    on_road = plans.carry_out(plan, ENVIRONMENT).on_road
    assert on_road[0]
    assert not on_road[-20:].all()


def test_windows_tell_a_dream_that_lies_from_one_that_does_not():
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 5, (40, 20))
    carried = [Carried(row, row > 0) for row in real]
    true, lying = (
        plans.windows(promised, carried, window=10, action_repeat=4)
        for promised in (real, np.full_like(real, 4.0))
    )
    assert [row["steps"] for row in true] == [10, 20]
    assert true[0]["agreement"] == pytest.approx(1)
    assert true[1]["dream_winning"] == true[1]["real_winning"]
    assert lying[0]["agreement"] == 0
    assert lying[0]["dream_reward"] == pytest.approx(4)
    assert lying[0]["real_reward"] == pytest.approx(real[:, :10].mean(), abs=1e-4)
    assert lying[1]["real_on_road"] == pytest.approx((real[:, 10:] > 0).mean(), abs=1e-4)


def test_a_plan_is_dreamt_on_from_its_moment():
    """With a controller that ignores what it sees all actions are the same, whatever the dream."""
    model = RNN(latent_size=4, hidden_size=8, mixtures=3, key=jr.key(0))
    zeros = jnp.zeros((3, 9))
    mu = jr.normal(jr.key(1), (3, 9, 4))
    action, none = jr.normal(jr.key(2), (3, 9, 3)), zeros.astype(int)
    drives = Batch(mu, jnp.full_like(mu, -9.0), action, zeros, none, zeros > 0, zeros == 0)
    found = plans.plan(
        Simulation(model, model, Rules(temperature=1.0, stuck_steps=0, action_repeat=4)),
        Controller(features=12),
        drives,
        np.array([0, 4, 8]),
        jr.key(3),
        steps=6,
    )
    assert found.action.shape == (3, 6, 3)
    assert np.allclose(found.action, [0, 0.5, 0.5])
    assert found.reward.shape == (3, 6)
    assert len(np.unique(found.reward)) == found.reward.size


def test_perturbed_parameters_differ_by_as_much_as_was_asked_for():
    one = Controller(features=400)
    one = one.with_parameters(jr.normal(jr.key(0), one.parameters.shape))
    off = plans.perturbed(one, 0.5, jr.key(1)).parameters - one.parameters
    assert float(jnp.sqrt((off**2).mean())) == pytest.approx(0.5, rel=0.1)
    assert np.array_equal(plans.perturbed(one, 0.0, jr.key(1)).parameters, one.parameters)
