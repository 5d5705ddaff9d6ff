import jax.numpy as jnp
import numpy as np
import pytest

from wm.models import value


def test_what_is_to_come_is_the_sum_of_the_steps_after():
    assert value.to_come(np.arange(6.0), 2).tolist() == [1 + 2, 2 + 3, 3 + 4, 4 + 5]
    assert len(value.to_come(np.arange(6.0), 6)) == 0


def drives(memories, points, length=100):
    return [(memories[i : i + length], points[i : i + length]) for i in range(0, len(points), length)]


def test_a_value_is_found_and_kept_between_its_bounds():
    """One that no linear function of the memory comes near."""
    rng = np.random.default_rng(0)
    memories = rng.normal(size=(20_000, 5)) * [1, 1, 1, 0.1, 0.1]
    points = 4 * np.abs(memories[:, 0]) + 3 * memories[:, 1] + 10 * memories[:, 3] + 7
    found = value.fit(drives(memories, points), least=5.0, most=12.0, seed=1)
    seen = found(jnp.asarray(memories, jnp.float32))
    assert np.abs(seen - np.clip(points, 5, 12)).mean() < 0.5
    within = np.clip(points, 5, 12)
    assert value.explained(found, drives(memories, within)) > 0.9
    assert float(seen.min()) == pytest.approx(5.0)
    assert float(seen.max()) == pytest.approx(12.0)
    assert np.array_equal(found(jnp.ones((2, 3, 5)))[1, 2], found(jnp.ones(5)))


def test_same_seed_same_value():
    rng = np.random.default_rng(0)
    memories, points = rng.normal(size=(3000, 5)), rng.normal(size=3000)
    first, again, other = (
        value.fit(drives(memories, points), least=-9.0, most=9.0, seed=seed)(jnp.ones(5))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_noise_explains_nothing():
    rng = np.random.default_rng(0)
    seen, unseen = (drives(rng.normal(size=(30_000, 5)), rng.normal(size=30_000)) for _ in range(2))
    found = value.fit(seen, least=-9.0, most=9.0, seed=1)
    assert value.explained(found, unseen) < 0.02
