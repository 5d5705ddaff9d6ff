import jax.numpy as jnp
import numpy as np
import pytest

from wm.models import value


def test_sums_are_over_the_steps_that_follow():
    assert value.sums_ahead(np.arange(6.0), 2).tolist() == [1 + 2, 2 + 3, 3 + 4, 4 + 5]
    assert len(value.sums_ahead(np.arange(6.0), 6)) == 0


def pairs(hidden, points, length=100):
    return [(hidden[i : i + length], points[i : i + length]) for i in range(0, len(points), length)]


def test_a_nonlinear_value_is_fitted_and_clipped_to_its_bounds():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(20_000, 5)) * [1, 1, 1, 0.1, 0.1]
    points = 4 * np.abs(hidden[:, 0]) + 3 * hidden[:, 1] + 10 * hidden[:, 3] + 7
    fitted = value.least_squares(pairs(hidden, points), lowest=5.0, highest=12.0, seed=1)
    predicted = fitted(jnp.asarray(hidden, jnp.float32))
    assert np.abs(predicted - np.clip(points, 5, 12)).mean() < 0.5
    within = np.clip(points, 5, 12)
    assert value.explained(fitted, pairs(hidden, within)) > 0.9
    assert float(predicted.min()) == pytest.approx(5.0)
    assert float(predicted.max()) == pytest.approx(12.0)
    assert np.array_equal(fitted(jnp.ones((2, 3, 5)))[1, 2], fitted(jnp.ones(5)))


def test_the_seed_determines_the_value():
    rng = np.random.default_rng(0)
    hidden, points = rng.normal(size=(3000, 5)), rng.normal(size=3000)
    first, again, other = (
        value.least_squares(pairs(hidden, points), lowest=-9.0, highest=9.0, seed=seed)(jnp.ones(5))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_noise_predicts_no_value():
    rng = np.random.default_rng(0)
    seen, unseen = (pairs(rng.normal(size=(30_000, 5)), rng.normal(size=30_000)) for _ in range(2))
    fitted = value.least_squares(seen, lowest=-9.0, highest=9.0, seed=1)
    assert value.explained(fitted, unseen) < 0.02
