import jax.numpy as jnp
import numpy as np
import pytest

from wm import value


def test_what_is_to_come_is_the_sum_of_the_steps_after():
    assert value.to_come(np.arange(6.0), 2).tolist() == [1 + 2, 2 + 3, 3 + 4, 4 + 5]
    assert len(value.to_come(np.arange(6.0), 6)) == 0


def test_a_linear_value_is_found_and_kept_between_its_bounds():
    rng = np.random.default_rng(0)
    memories = rng.normal(size=(4000, 5)) * [1, 1, 1, 0.1, 0.1]
    points = memories @ [3.0, -2.0, 0.0, 5.0, 0.0] + 7
    parts = [(memories[i : i + 100], points[i : i + 100]) for i in range(0, 4000, 100)]
    found, explained = value.fit(parts, least=-1.0, most=12.0)
    assert explained > 0.98
    seen = found(jnp.asarray(memories, jnp.float32))
    assert np.allclose(seen, np.clip(points, -1, 12), atol=0.6)
    assert float(seen.min()) == pytest.approx(-1.0)
    assert float(seen.max()) == pytest.approx(12.0)


def test_noise_is_not_explained():
    rng = np.random.default_rng(0)
    found, explained = value.fit([(rng.normal(size=(3000, 5)), rng.normal(size=3000))], least=-9.0, most=9.0)
    assert explained < 0.02
    assert np.abs(found.weight).max() < 0.1
