"""The VAE: its tone curve, its loss compared with NumPy, and that it learns."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from wm.models import vae
from wm.models.vae import VAE

WIDTHS = (4, 6, 8, 10)
jitted_loss = eqx.filter_jit(vae.loss)
make = eqx.filter_jit(VAE)  # one compilation instead of one for every leaf
new_key = partial(jr.key, impl="rbg")  # compiles ten times faster than the default


def test_normalise_maps_bytes_to_the_unit_interval():
    floats = vae.normalise(jnp.array([0, 51, 255], jnp.uint8).reshape(1, 1, 3))
    assert floats.dtype == jnp.float32
    np.testing.assert_allclose(floats.ravel(), [0, 0.2, 1], rtol=1e-6)


TONES = [(0, 0), (100, 60), (103, 130), (255, 255)]


def test_the_tone_curve_is_piecewise_linear_and_has_an_inverse():
    values = jnp.arange(256, dtype=jnp.uint8).reshape(16, 16, 1)
    toned = vae.normalise(values, TONES)
    wanted = np.interp(np.arange(256), *np.transpose(TONES)) / 255
    np.testing.assert_allclose(toned.ravel(), wanted, atol=1e-6)
    np.testing.assert_allclose(vae.denormalise(toned, TONES), vae.normalise(values), atol=1e-6)


def test_the_tone_curve_is_applied_to_what_v_encodes_and_undone_in_what_it_decodes(frames):
    model = make(latent_size=3, widths=WIDTHS, tones=TONES, key=new_key(3))
    as_they_are = make(latent_size=3, widths=WIDTHS, key=new_key(3))
    toned = jnp.rint(255 * vae.normalise(frames, TONES)).astype(jnp.uint8)
    for ours, wanted in zip(vae.encode(model, frames), vae.encode(as_they_are, toned), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=5e-3)
    painted = jax.vmap(model.decode_toned)(jnp.eye(3))
    np.testing.assert_allclose(vae.decode(as_they_are, jnp.eye(3)), painted, atol=1e-6)
    shown = vae.decode(model, jnp.eye(3))
    np.testing.assert_allclose(shown, vae.denormalise(painted, TONES), atol=1e-6)
    assert np.abs(shown - painted).max() > 0.05


@pytest.mark.parametrize(
    "tones", [[], [(0, 0)], [(0, 0), (255, 200)], [(0, 9), (255, 255)], [(0, 0), (90, 0), (255, 255)]]
)
def test_tone_curves_that_do_not_rise_from_black_to_white_are_refused(tones):
    with pytest.raises(ValueError, match=r"expected points that rise from \[0, 0\] to \[255, 255\]"):
        VAE(latent_size=3, widths=WIDTHS, tones=tones, key=new_key(3))


def fixed_posterior(model: VAE, mu: list[float], logvar: list[float]) -> VAE:
    """The model with an encoder that answers `mu` and `logvar` to every frame."""
    linear = model.to_latent
    return eqx.tree_at(
        lambda model: (model.to_latent.weight, model.to_latent.bias),
        model,
        (jnp.zeros_like(linear.weight), jnp.array(mu + logvar)),
    )


@pytest.fixture(scope="module")
def model() -> VAE:
    return make(latent_size=3, widths=WIDTHS, key=new_key(3))


@pytest.fixture(scope="module")
def frames() -> jax.Array:
    """Eight frames, each a rectangle of one colour on a ground of another."""
    rng = np.random.default_rng(0)
    frames = np.empty((8, 64, 64, 3), np.uint8)
    for frame in frames:
        frame[:] = rng.integers(0, 256, 3)
        top, left = rng.integers(0, 32, 2)
        frame[top : top + 32, left : left + 32] = rng.integers(0, 256, 3)
    return jnp.asarray(frames)


def test_kl_is_that_of_two_normals_by_numerical_integration(model, frames):
    mu, logvar = [0.5, -1.0, 2.0], [0.0, 1.0, -2.0]
    _, metrics = jitted_loss(fixed_posterior(model, mu, logvar), frames, new_key(0))
    x = np.linspace(-30, 30, 200_001)[:, None]
    deviation = np.exp(np.array(logvar) / 2)
    log_q = -(((x - mu) / deviation) ** 2) / 2 - np.log(deviation)
    q = np.exp(log_q) / np.sqrt(2 * np.pi)
    wanted = np.sum(q * (log_q + x**2 / 2)) * (x[1, 0] - x[0, 0])
    np.testing.assert_allclose(metrics["kl"], wanted, rtol=1e-4)


def test_kl_of_the_prior_is_zero(model, frames):
    _, metrics = jitted_loss(fixed_posterior(model, [0.0] * 3, [0.0] * 3), frames, new_key(0))
    assert abs(float(metrics["kl"])) < 1e-6


def test_squared_error_is_summed_over_the_image_and_averaged_over_the_batch(model, frames):
    mu = [0.3, -0.2, 0.1]
    certain = fixed_posterior(model, mu, [-60.0] * 3)  # the latent is mu for any key
    total, metrics = jitted_loss(certain, frames, new_key(0), kl_weight=0.5)
    difference = np.asarray(eqx.filter_jit(certain.decode)(jnp.array(mu))) - np.asarray(frames) / 255
    wanted = np.mean(np.sum(difference**2, axis=(1, 2, 3)))
    np.testing.assert_allclose(metrics["squared_error"], wanted, rtol=1e-5)
    np.testing.assert_allclose(total, wanted + 0.5 * metrics["kl"], rtol=1e-5)
    assert total == metrics["loss"]


def test_sample_has_the_mean_and_deviation_asked_for():
    mu, logvar = jnp.full(100_000, 2.0), jnp.full(100_000, np.log(0.25))
    z = vae.sample(mu, logvar, new_key(0))
    np.testing.assert_allclose([z.mean(), z.std()], [2, 0.5], atol=0.01)


@pytest.mark.parametrize("widths", [(16, 32, 64, 128), (2, 3, 5, 7)])
def test_sizes_are_those_asked_for(widths):
    model = eqx.filter_eval_shape(VAE, latent_size=6, widths=widths, key=new_key(0))
    assert (model.latent_size, model.widths) == (6, widths)
    assert tuple(conv.kernel.shape[-1] for conv in model.down) == widths
    assert tuple(conv.kernel.shape[-1] for conv in model.up) == widths[::-1]
    assert model.to_latent.weight.shape == (12, 16 * widths[-1])
    mu, logvar = eqx.filter_eval_shape(VAE.encode, model, jnp.zeros((64, 64, 3), jnp.uint8))
    assert mu.shape == logvar.shape == (6,)
    assert eqx.filter_eval_shape(VAE.decode, model, jnp.zeros(6)).shape == (64, 64, 3)


def test_decoded_frames_lie_in_the_unit_interval(model):
    far = eqx.filter_jit(model.decode)(jnp.full(3, 1e4))
    assert 0 <= float(far.min()) < 0.01
    assert 0.99 < float(far.max()) <= 1


def test_same_key_same_parameters(model):
    assert eqx.tree_equal(model, make(latent_size=3, widths=WIDTHS, key=new_key(3)))
    assert not eqx.tree_equal(model, make(latent_size=3, widths=WIDTHS, key=new_key(4)))


def test_overfits_one_batch(frames):
    model = make(latent_size=8, widths=(16, 32, 64, 128), key=new_key(4))
    optimiser = optax.adam(3e-3)

    @eqx.filter_jit
    def step(model, state, key):
        (_, metrics), grads = eqx.filter_value_and_grad(vae.loss, has_aux=True)(model, frames, key)
        updates, state = optimiser.update(grads, state)
        return eqx.apply_updates(model, updates), state, metrics["squared_error"]

    state = optimiser.init(eqx.filter(model, eqx.is_array))
    errors = []
    for key in jr.split(new_key(5), 160):
        model, state, error = step(model, state, key)
        errors.append(float(error))
    assert np.mean(errors[-5:]) < errors[0] / 5
