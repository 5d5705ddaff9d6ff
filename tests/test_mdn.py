import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from wm.models import mdn


@pytest.fixture
def mixture():
    keys = jr.split(jr.key(0), 3)
    return mdn.Mixture(*(jr.normal(key, (5, 4)) for key in keys))


def test_density_is_that_of_scipy(mixture):
    z = jnp.array([-1.3, 0.0, 0.4, 2.0])
    weights = softmax(mixture.logits, axis=0)
    components = stats.norm.pdf(np.asarray(z), mixture.mean, np.exp(mixture.log_sigma))
    assert np.allclose(mdn.log_density(mixture, z), np.log((weights * components).sum(0)), atol=1e-5)


def test_samples_have_the_mixtures_moments(mixture):
    noise = mdn.draw_noise(jr.key(1), (200_000, 4), 5)
    samples = np.asarray(mdn.sample(mixture, noise, 1.0))
    weights = softmax(mixture.logits, axis=0)
    mean = (weights * mixture.mean).sum(0)
    second = (weights * (np.exp(2 * mixture.log_sigma) + mixture.mean**2)).sum(0)
    assert np.allclose(samples.mean(0), mean, atol=5 * np.sqrt(second.max() / 200_000))
    assert np.allclose((samples**2).mean(0), second, rtol=0.05)
    assert np.allclose(mdn.expectation(mixture), mean, atol=1e-5)


def test_temperature_divides_logits_and_multiplies_sigma_by_its_root():
    """Ha & Schmidhuber 2018, appendix A.2."""
    logits = jnp.array([[2.0], [0.0]])
    mixture = mdn.Mixture(logits, jnp.array([[-50.0], [50.0]]), jnp.zeros((2, 1)))
    noise = mdn.draw_noise(jr.key(2), (100_000, 1), 2)
    samples = np.asarray(mdn.sample(mixture, noise, 4.0))[:, 0]
    low = samples < 0
    assert low.mean() == pytest.approx(1 / (1 + np.exp(-2 / 4)), abs=0.01)
    assert samples[low].std() == pytest.approx(2.0, rel=0.02)


def test_a_denoised_sample_with_its_noise_has_the_distribution_of_a_sample(mixture):
    variance = 0.9 * jnp.exp(2 * mixture.log_sigma).min(axis=0)
    noise = mdn.draw_noise(jr.key(3), (200_000, 4), 5)
    clean, noisy = mdn.sample_denoised(mixture, noise, 1.0, variance)
    whole = mdn.sample(mixture, noise, 1.0)
    assert np.allclose(noisy.mean(0), whole.mean(0), atol=0.02)
    assert np.allclose(noisy.std(0), whole.std(0), rtol=0.02)
    assert np.allclose((noisy - clean).std(0), np.sqrt(variance), rtol=0.02)
    assert np.allclose(
        [np.corrcoef(c, n - c)[0, 1] for c, n in zip(clean.T, noisy.T, strict=True)], 0, atol=0.01
    )


def test_a_component_with_less_variance_than_the_noise_is_all_noise(mixture):
    noise = mdn.draw_noise(jr.key(3), (200_000, 4), 5)
    clean, noisy = mdn.sample_denoised(mixture, noise, 1.0, 2 * jnp.exp(2 * mixture.log_sigma).max(axis=0))
    off = np.abs(np.asarray(clean)[:, None] - mixture.mean).min(axis=1)
    assert off.max() < 6 * np.sqrt(mdn.MIN_VARIANCE)
    assert np.allclose(noisy.std(0), mdn.sample(mixture, noise, 1.0).std(0), rtol=0.02)


def test_the_mode_is_the_mean_of_the_component_with_the_largest_weight():
    mixture = mdn.Mixture(
        logits=jnp.array([[0.0, 2.0], [1.0, 0.0], [0.5, 1.0]]),
        mean=jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        log_sigma=jnp.zeros((3, 2)),
    )
    assert mdn.mode(mixture).tolist() == [3.0, 2.0]


@pytest.fixture
def joint(mixture):
    return mixture._replace(logits=mixture.logits[:, :1])


def test_the_density_of_a_joint_mixture_is_that_of_scipy(joint):
    z = jnp.array([-1.3, 0.0, 0.4, 2.0])
    components = stats.norm.pdf(np.asarray(z), joint.mean, np.exp(joint.log_sigma)).prod(axis=1)
    density = (softmax(joint.logits[:, 0]) * components).sum()
    assert np.allclose(mdn.log_density(joint, z), [np.log(density)], atol=1e-5)


def test_all_dimensions_of_a_joint_mixture_use_one_component():
    """Of two far components all dimensions come from one; chosen by themselves they would be mixed."""
    mixture = mdn.Mixture(jnp.zeros((2, 1)), jnp.array([[-50.0] * 4, [50.0] * 4]), jnp.zeros((2, 4)))
    noise = mdn.draw_noise(jr.key(3), (1000, 4), 2)
    high = np.asarray(mdn.sample(mixture, noise, 1.0)) > 0
    assert set(high.sum(axis=1)) == {0, 4}
    assert high.mean() == pytest.approx(0.5, abs=0.1)
    apart = mixture._replace(logits=jnp.zeros((2, 4)))
    assert set((np.asarray(mdn.sample(apart, noise, 1.0)) > 0).sum(axis=1)) == {0, 1, 2, 3, 4}
    assert mdn.mode(mixture._replace(logits=jnp.array([[0.0], [1.0]]))).tolist() == [50.0] * 4
    assert mdn.expectation(mixture).tolist() == [0.0] * 4
