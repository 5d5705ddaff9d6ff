"""The VAE's convolutions: values and gradients compared with those of XLA's convolutions."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from wm.models import conv

SIZES = [(64, 3, 16), (8, 5, 7)]  # side of the larger image, its channels, the smaller one's channels
LAYOUT = ("NHWC", "HWIO", "NHWC")
new_key = partial(jr.key, impl="rbg")  # compiles ten times faster than the default


def xla_downsample(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (2, 2), [(1, 1), (1, 1)], dimension_numbers=LAYOUT, precision="highest"
    )


def xla_upsample(x, kernel):
    return jax.lax.conv_transpose(
        x,
        kernel,
        (2, 2),
        [(2, 2), (2, 2)],
        dimension_numbers=LAYOUT,
        transpose_kernel=True,
        precision="highest",
    )


@partial(jax.jit, static_argnums=0)
def value_and_pullback(f, x, kernel, cotangent):
    """The plain value, the differentiated value, and the gradients of x and kernel."""
    value, pull = jax.vjp(f, x, kernel)
    return f(x, kernel), value, *pull(cotangent)


def assert_same_map(ours, xla, x, kernel, cotangent):
    """Values and gradients agree to 1e-5 of their scale, ours being batched by `vmap`."""
    wanted = value_and_pullback(xla, x, kernel, cotangent)
    got = value_and_pullback(jax.vmap(ours, in_axes=(0, None)), x, kernel, cotangent)
    for ours_, wanted_ in zip(got, wanted, strict=True):
        scale = float(jnp.abs(wanted_).max())
        np.testing.assert_allclose(ours_ / scale, wanted_ / scale, atol=1e-5)


@pytest.mark.parametrize("downsample", [conv.downsample, conv.downsample_colours])
@pytest.mark.parametrize(("side", "channel", "out"), SIZES)
def test_downsample_is_xlas_convolution(side, channel, out, downsample):
    x_key, kernel_key, cotangent_key = jr.split(new_key(0), 3)
    x = jr.normal(x_key, (2, side, side, channel))
    kernel = jr.normal(kernel_key, (4, 4, channel, out))
    cotangent = jr.normal(cotangent_key, (2, side // 2, side // 2, out))
    assert_same_map(downsample, xla_downsample, x, kernel, cotangent)


@pytest.mark.parametrize(("side", "out", "channel"), SIZES)
def test_upsample_is_xlas_transposed_convolution(side, out, channel):
    x_key, kernel_key, cotangent_key = jr.split(new_key(1), 3)
    x = jr.normal(x_key, (2, side // 2, side // 2, channel))
    kernel = jr.normal(kernel_key, (4, 4, out, channel))
    cotangent = jr.normal(cotangent_key, (2, side, side, out))
    assert_same_map(conv.upsample, xla_upsample, x, kernel, cotangent)


def test_upsample_is_the_adjoint_of_downsample():
    x_key, kernel_key, y_key = jr.split(new_key(2), 3)
    x, y = jr.normal(x_key, (16, 8, 3)), jr.normal(y_key, (8, 4, 5))
    kernel = jr.normal(kernel_key, (4, 4, 3, 5))
    left = jnp.vdot(conv.downsample(x, kernel), y)
    np.testing.assert_allclose(left, jnp.vdot(x, conv.upsample(y, kernel)), rtol=1e-4)
