"""The VAE's layers: convolutions of kernel 4, stride 2 and padding 1, and their transposes; channels last.

The layers have derivatives of their own because XLA's are slow on a CPU: it computes the gradient towards an
image as a convolution in which most factors are zeros. `python -m bench.vae` compares the layers with
`jax.lax`, Equinox and PyTorch; `python -m bench.layers` compares ways to write each operation.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from wm.spec import FRAME_CHANNELS


def convolve(
    x: Float[Array, "*batch height width channel"],
    kernel: Float[Array, "_ _ channel out"],
    stride: int,
    padding: int,
) -> Float[Array, "*batch _ _ out"]:
    """XLA's convolution, channels last, any leading batch axes."""
    y = jax.lax.conv_general_dilated(
        x.reshape(-1, *x.shape[-3:]),
        kernel,
        (stride, stride),
        [(padding, padding), (padding, padding)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.reshape(*x.shape[:-3], *y.shape[1:])


@jax.custom_jvp
def downsample(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 channel out"]
) -> Float[Array, "*batch half_height half_width out"]:
    """The convolution of kernel 4, stride 2 and padding 1."""
    return convolve(x, kernel, stride=2, padding=1)


@downsample.defjvp
def _downsample_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Each term in the form whose transpose, the gradient, XLA computes fast."""
    x, kernel = primals
    dx, dkernel = tangents
    return downsample(x, kernel), downsample_blocks(dx, kernel) + downsample(x, dkernel)


@jax.custom_jvp
def upsample(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 out channel"]
) -> Float[Array, "*batch double_height double_width out"]:
    """The transpose of `downsample` with the same kernel, as a 2 x 2 convolution to blocks of outputs."""
    weight = kernel_of_blocks(kernel)[::-1, ::-1].swapaxes(2, 3)
    return from_blocks(convolve(x, weight, stride=1, padding=1))


@upsample.defjvp
def _upsample_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Each term in the form whose transpose, the gradient, XLA computes fast."""
    x, kernel = primals
    dx, dkernel = tangents
    return upsample(x, kernel), upsample_dilated(dx, kernel) + upsample_exchanged(x, dkernel)


def downsample_blocks(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 channel out"]
) -> Float[Array, "*batch half_height half_width out"]:
    """`downsample` as a 2 x 2 convolution of blocks. Its transpose dilates nothing with zeros."""
    return convolve(to_blocks(x), kernel_of_blocks(kernel), stride=1, padding=0)


def downsample_colours(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 channel out"]
) -> Float[Array, "*batch half_height half_width out"]:
    """`downsample` of three colours padded to four, so that a block's 16 numbers fill vector registers."""
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 1)])
    kernel = jnp.pad(kernel, [(0, 0), (0, 0), (0, 1), (0, 0)])
    return downsample_blocks(x, kernel)


def upsample_dilated(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 out channel"]
) -> Float[Array, "*batch double_height double_width out"]:
    """`upsample` as a convolution of the image dilated with zeros. Its transpose is `downsample`."""
    y = jax.lax.conv_transpose(
        x.reshape(-1, *x.shape[-3:]),
        kernel,
        (2, 2),
        [(2, 2), (2, 2)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        transpose_kernel=True,
    )
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def upsample_exchanged(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 out channel"]
) -> Float[Array, "*batch double_height double_width out"]:
    """`upsample` with the roles of image and kernel exchanged. The kernel's gradient dilates nothing."""
    *batch, height, width, channel = x.shape
    y = jax.lax.conv_general_dilated(
        kernel,
        x.reshape(-1, height, width, channel)[:, ::-1, ::-1],
        (1, 1),
        [(2 * height - 3, 2 * height - 3), (2 * width - 3, 2 * width - 3)],
        rhs_dilation=(2, 2),
        dimension_numbers=("HWNC", "OHWI", "CHWN"),
    )
    return y.reshape(*batch, *y.shape[1:])


def to_blocks(
    x: Float[Array, "*batch height width channel"],
) -> Float[Array, "*batch blocks_down blocks_across 4*channel"]:
    """The image, padded by 1, its 2 x 2 blocks moved into the channels."""
    *batch, height, width, channel = x.shape
    x = jnp.pad(x, [(0, 0)] * len(batch) + [(1, 1), (1, 1), (0, 0)])
    down, across = height // 2 + 1, width // 2 + 1
    x = x.reshape(*batch, down, 2, across, 2, channel).swapaxes(-4, -3)
    return x.reshape(*batch, down, across, 4 * channel)


def from_blocks(
    x: Float[Array, "*batch blocks_down blocks_across block"],
) -> Float[Array, "*batch height width channel"]:
    """The inverse of `to_blocks`."""
    *batch, down, across, channels = x.shape
    x = x.reshape(*batch, down, across, 2, 2, channels // 4).swapaxes(-4, -3)
    return x.reshape(*batch, 2 * down, 2 * across, channels // 4)[..., 1:-1, 1:-1, :]


def kernel_of_blocks(kernel: Float[Array, "4 4 channel out"]) -> Float[Array, "2 2 4*channel out"]:
    """The kernel of the same convolution after `to_blocks`."""
    channel, out = kernel.shape[2:]
    return kernel.reshape(2, 2, 2, 2, channel, out).swapaxes(1, 2).reshape(2, 2, 4 * channel, out)


def uniform(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
    """Initial weights at the scale of Equinox's layers."""
    limit = fan_in**-0.5
    return jr.uniform(key, shape, minval=-limit, maxval=limit)


class Conv(eqx.Module):
    """A `downsample` with a bias."""

    kernel: Float[Array, "4 4 channel out"]
    bias: Float[Array, " out"]

    def __init__(self, channel: int, out: int, *, key: PRNGKeyArray):
        self.kernel = uniform(key, (4, 4, channel, out), fan_in=16 * channel)
        self.bias = jnp.zeros(out)

    def __call__(self, x: Float[Array, "height width channel"]) -> Float[Array, "_ _ out"]:
        apply = downsample_colours if x.shape[-1] == FRAME_CHANNELS else downsample
        return apply(x, self.kernel) + self.bias


class ConvTranspose(eqx.Module):
    """An `upsample` with a bias."""

    kernel: Float[Array, "4 4 out channel"]
    bias: Float[Array, " out"]

    def __init__(self, channel: int, out: int, *, key: PRNGKeyArray):
        self.kernel = uniform(key, (4, 4, out, channel), fan_in=4 * channel)
        self.bias = jnp.zeros(out)

    def __call__(self, x: Float[Array, "height width channel"]) -> Float[Array, "_ _ out"]:
        return upsample(x, self.kernel) + self.bias
