import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.dream.dynamics import Dream, Rules, Simulation
from wm.fidelity import plans
from wm.fidelity.controllers import of_all_qualities, perturbed
from wm.fidelity.plans import Moments, Plan, Replay
from wm.models.controller import Controller, snapshots
from wm.models.rnn import RNN, Batch
from wm.spec import Timing
from wm.track import rollout
from wm.track.erratic import Erratic
from wm.track.real_track import RealTrack

TIMING = Timing(action_repeat=4, warm_up_frames=50)


@pytest.fixture(scope="module")
def drive():
    return rollout.drive_alone(RealTrack(4, 50), Erratic(np.random.default_rng(3)), 3, "erratic")


@pytest.mark.parametrize("moment", [0, 30])
def test_a_replay_from_the_middle_of_a_drive_repeats_the_drive(drive, moment):
    plan = Plan(3, drive.actions[:moment], drive.actions[moment : moment + 25])
    found = plans.replay(plan, TIMING)
    assert np.allclose(found.reward, drive.rewards[moment : moment + 25], atol=1e-4)


def test_after_the_end_of_the_episode_a_replay_has_no_reward(drive):
    plan = Plan(3, drive.actions, np.ones((5, 3), np.float32))
    found = plans.replay(plan, TIMING)
    assert not found.reward.any()
    assert not found.on_road.any()


def test_the_car_starts_on_the_road_and_full_steering_takes_it_off():
    plan = Plan(5, np.zeros((0, 3), np.float32), np.tile(np.array([1, 0.6, 0], np.float32), (40, 1)))
    on_road = plans.replay(plan, TIMING).on_road
    assert on_road[0]
    assert not on_road[-20:].all()


def test_windows_separate_a_dream_that_overestimates_from_one_that_does_not():
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 5, (40, 20))
    replays = [Replay(row, row > 0) for row in real]
    true, lying = (
        plans.windows(promised, replays, window=10, timing=TIMING)
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
    """A controller that ignores its input takes the same actions in every dream."""
    model = RNN(latent_size=4, hidden_size=8, mixtures=3, key=jr.key(0))
    zeros = jnp.zeros((3, 9))
    mu = jr.normal(jr.key(1), (3, 9, 4))
    action, none = jr.normal(jr.key(2), (3, 9, 3)), zeros.astype(int)
    drives = Batch(mu, jnp.full_like(mu, -9.0), action, zeros, none, zeros > 0, zeros == 0)
    found = plans.plan(
        Simulation(model, model, Rules(temperature=1.0, stuck_steps=0, action_repeat=4)),
        Controller(features=12),
        Moments(drives, [1, 2, 3], np.array([0, 4, 8])),
        6,
        jr.key(3),
    )
    assert found.action.shape == (3, 6, 3)
    assert np.allclose(found.action, [0, 0.5, 0.5])
    assert found.reward.shape == (3, 6)
    assert len(np.unique(found.reward)) == found.reward.size


def test_perturbed_parameters_differ_by_as_much_as_was_asked_for():
    one = Controller(features=400)
    one = one.with_parameters(jr.normal(jr.key(0), one.parameters.shape))
    off = perturbed(one, 0.5, jr.key(1)).parameters - one.parameters
    assert float(jnp.sqrt((off**2).mean())) == pytest.approx(0.5, rel=0.1)
    assert np.array_equal(perturbed(one, 0.0, jr.key(1)).parameters, one.parameters)


def test_plans_follow_their_drives_and_the_simulators_take_turns():
    models = [RNN(latent_size=4, hidden_size=8, mixtures=3, key=jr.key(i)) for i in range(2)]
    zeros = jnp.zeros((3, 9))
    mu, action = jr.normal(jr.key(1), (3, 9, 4)), jr.normal(jr.key(2), (3, 9, 3))
    drives = Batch(mu, mu - 9, action, zeros, zeros.astype(int), zeros > 0, zeros == 0)
    rules = Rules(temperature=1.0, stuck_steps=0, action_repeat=4)
    dream, times = Dream(models, models[0], rules, 50), np.array([2, 4, 8])
    made, promised = plans.make_plans(
        dream, Controller(features=12), Moments(drives, [11, 12, 13], times), 6, jr.key(3)
    )
    assert [plan.seed for plan in made] == [11, 13, 12]
    for plan, i in zip(made, (0, 2, 1), strict=True):
        assert np.array_equal(plan.before, action[i, : times[i]])
        assert plan.dreamt.shape == (6, 3)
    assert promised.shape == (3, 6)


def test_controllers_of_all_qualities_are_snapshots_and_the_last_one_with_noise():
    searched = [Controller(features=2).with_parameters(jnp.full(9, float(i))) for i in range(9)]
    found = of_all_qualities(searched[-1], snapshots(searched), 3, [0.0, 1.0], jr.key(0))
    assert list(found) == ["snapshot_1", "snapshot_3", "snapshot_8", "noise_0.0", "noise_1.0"]
    for name, value in (("snapshot_1", 1), ("snapshot_3", 3), ("snapshot_8", 8), ("noise_0.0", 8)):
        assert np.array_equal(found[name].parameters, np.full(9, value))
    assert not np.allclose(found["noise_1.0"].parameters, 8)
