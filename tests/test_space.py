import jax.numpy as jnp
import jax.random as jr
import numpy as np

from wm.models import controller
from wm.models.controller import Controller
from wm.search import space

ZERO = Controller(features=6)


def test_principal_components_are_the_directions_that_vary_most():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 6)) * [0.1, 5.0, 0.1, 1.0, 0.1, 0.1] + 3.0
    found = space.principal_components(ZERO, features, 2)
    assert np.allclose(np.abs(found.directions[:, [1, 3]]), np.eye(2), atol=0.05)
    assert np.allclose(found.mean, features.mean(0), atol=1e-5)


def test_a_controller_acts_on_its_features_components():
    rng = np.random.default_rng(0)
    found = space.principal_components(ZERO, rng.normal(size=(50, 6)), 3)
    coordinates = jr.normal(jr.key(0), (12,))
    one = found.controller(coordinates)
    features = jr.normal(jr.key(1), (6,))
    components = found.directions @ (features - found.mean)
    raw = coordinates[:9].reshape(3, 3) @ components + coordinates[9:]
    assert np.allclose(one(features[:2], features[2:]), controller.squash(raw, "sigmoid"), atol=1e-5)
    assert np.allclose(found.coordinates(one), coordinates, atol=1e-5)


def test_a_search_starts_at_the_previous_controller_or_at_zeros():
    rng = np.random.default_rng(0)
    found = space.principal_components(ZERO, rng.normal(size=(50, 6)), 3)
    previous = found.controller(jnp.arange(12.0))
    assert np.allclose(found.start(previous), jnp.arange(12.0), atol=1e-4)
    assert found.start(None).tolist() == [0.0] * 12
