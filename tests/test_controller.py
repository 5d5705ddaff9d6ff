import jax.numpy as jnp
import jax.random as jr
import numpy as np

from wm.models import controller
from wm.models.controller import Controller, Snapshots
from wm.runtime import model_file


def test_the_zero_controller_steers_straight_with_half_gas_and_half_brake():
    action = Controller(features=6)(jnp.ones(2), jnp.ones(4))
    assert np.allclose(action, [0, 0.5, 0.5])


def test_actions_are_squashed_into_the_cars_range():
    one = Controller(features=6).with_parameters(100 * jr.normal(jr.key(0), (21,)))
    action = np.asarray(one(jnp.ones(2), jnp.ones(4)))
    assert -1 <= action[0] <= 1
    assert ((action[1:] >= 0) & (action[1:] <= 1)).all()


def test_a_tanh_gas_is_zero_at_first_and_its_negative_half_is_clipped():
    one = Controller(features=6, pedals="tanh")
    seen = jnp.ones(2), jnp.ones(4)
    assert one(*seen).tolist() == [0.0, 0.0, 0.0]
    assert Controller(features=6)(*seen).tolist() == [0.0, 0.5, 0.5]
    closed = one.with_parameters(jnp.full(21, -1.0))
    assert closed(*seen)[1:].tolist() == [0.0, 0.0]
    assert one.sizes["pedals"] == "tanh"


def test_actions_are_clipped_to_the_limits():
    limits = ((-0.5, 0.5), (0.5, 0.5), (0.0, 0.0))
    one = Controller(features=6, limits=limits).with_parameters(jnp.full(21, 9.0))
    assert np.allclose(one(jnp.ones(2), jnp.ones(4)), [0.5, 0.5, 0.0])


def test_there_are_867_parameters_in_the_papers_sizes_and_they_can_be_set():
    one = Controller(features=32 + 256)
    vector = jr.normal(jr.key(1), one.parameters.shape)
    assert vector.shape == (867,)
    assert (one.with_parameters(vector).parameters == vector).all()


def test_snapshots_survive_the_file(tmp_path):
    controllers = [Controller(features=6).with_parameters(jr.normal(jr.key(i), (21,))) for i in range(3)]
    model_file.save(tmp_path / "snapshots.eqx", controller.snapshots(controllers))
    loaded = model_file.load(tmp_path / "snapshots.eqx", Snapshots)
    assert loaded.count == 3
    assert (loaded.controllers.weight[2] == controllers[2].weight).all()
