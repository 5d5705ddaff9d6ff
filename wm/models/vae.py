"""The variational autoencoder: a frame to a latent and back (Ha & Schmidhuber 2018, appendix A.1).

Differs from the paper in its padding: every convolution has kernel 4, stride 2 and padding 1, so sizes halve
(64, 32, 16, 8, 4) and the decoder is the encoder's mirror image. Channels come last.

XLA's convolutions are fast on a CPU, what it derives from them is not: a gradient towards an image
becomes a convolution of zeros for the most part. The two layers here have derivatives of their own.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar, UInt8

from wm.params.train_vae import IDENTITY, RISING, is_rising
from wm.spec import FRAME_CHANNELS, FRAME_SIDE, MAX_CONVOLUTIONS


def normalise(
    frames: UInt8[Array, "*batch height width channel"], tones: Sequence[Sequence[int]] = IDENTITY
) -> Float[Array, "*batch height width channel"]:
    """Frames as floats in [0, 1], their values changed by the tone curve through `tones`."""
    return along_curve(frames.astype(jnp.float32), tones)


def denormalise(
    toned: Float[Array, "*batch height width channel"], tones: Sequence[Sequence[int]]
) -> Float[Array, "*batch height width channel"]:
    """The values, in [0, 1], of which `normalise` makes `toned`."""
    return along_curve(255 * toned, [(seen, value) for value, seen in tones])


def along_curve(
    x: Float[Array, "*batch height width channel"], points: Sequence[Sequence[int]]
) -> Float[Array, "*batch height width channel"]:
    """What the straight lines through `points` make of values up to 255, in [0, 1]."""
    found = jnp.zeros_like(x)
    for (start, low), (end, high) in itertools.pairwise(points):
        found += (jnp.clip(x, start, end) - start) * ((high - low) / (end - start) / 255)
    return found


def convolve(
    x: Float[Array, "*batch height width channel"],
    kernel: Float[Array, "_ _ channel out"],
    stride: int,
    padding: int,
) -> Float[Array, "*batch _ _ out"]:
    """XLA's convolution, channels last."""
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
    """The convolution of stride 2 and padding 1."""
    return convolve(x, kernel, stride=2, padding=1)


@downsample.defjvp
def _downsample_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Written so that what XLA makes of the transposes is fast."""
    x, kernel = primals
    dx, dkernel = tangents
    return downsample(x, kernel), downsample_blocks(dx, kernel) + downsample(x, dkernel)


@jax.custom_jvp
def upsample(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 out channel"]
) -> Float[Array, "*batch double_height double_width out"]:
    """The transpose of `downsample` with the same kernel: every 2 x 2 inputs give a block of outputs."""
    weight = kernel_of_blocks(kernel)[::-1, ::-1].swapaxes(2, 3)
    return from_blocks(convolve(x, weight, stride=1, padding=1))


@upsample.defjvp
def _upsample_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Written so that what XLA makes of the transposes is fast."""
    x, kernel = primals
    dx, dkernel = tangents
    return upsample(x, kernel), upsample_dilated(dx, kernel) + upsample_exchanged(x, dkernel)


def downsample_blocks(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 channel out"]
) -> Float[Array, "*batch half_height half_width out"]:
    """`downsample` as a 2 x 2 convolution of blocks: its transpose spreads nothing with zeros."""
    return convolve(to_blocks(x), kernel_of_blocks(kernel), stride=1, padding=0)


def downsample_colours(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 channel out"]
) -> Float[Array, "*batch half_height half_width out"]:
    """`downsample` of three colours, with an empty fourth: blocks of 16 numbers are what vectors hold."""
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 1)])
    kernel = jnp.pad(kernel, [(0, 0), (0, 0), (0, 1), (0, 0)])
    return downsample_blocks(x, kernel)


def upsample_dilated(
    x: Float[Array, "*batch height width channel"], kernel: Float[Array, "4 4 out channel"]
) -> Float[Array, "*batch double_height double_width out"]:
    """`upsample` of images spread with zeros: its transpose is `downsample`."""
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
    """`upsample` with image and kernel in each other's place: its transpose spreads nothing with zeros."""
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
    """The image, padded by 1, as 2 x 2 blocks made channels."""
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
    """The kernel as it acts on `to_blocks`."""
    channel, out = kernel.shape[2:]
    return kernel.reshape(2, 2, 2, 2, channel, out).swapaxes(1, 2).reshape(2, 2, 4 * channel, out)


def uniform(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
    """Weights at the scale of Equinox's own layers."""
    limit = fan_in**-0.5
    return jr.uniform(key, shape, minval=-limit, maxval=limit)


class Conv(eqx.Module):
    """Kernel and bias of a `downsample`."""

    kernel: Float[Array, "4 4 channel out"]
    bias: Float[Array, " out"]

    def __init__(self, channel: int, out: int, *, key: PRNGKeyArray):
        self.kernel = uniform(key, (4, 4, channel, out), fan_in=16 * channel)
        self.bias = jnp.zeros(out)

    def __call__(self, x: Float[Array, "height width channel"]) -> Float[Array, "_ _ out"]:
        apply = downsample_colours if x.shape[-1] == FRAME_CHANNELS else downsample
        return apply(x, self.kernel) + self.bias


class ConvTranspose(eqx.Module):
    """Kernel and bias of an `upsample`."""

    kernel: Float[Array, "4 4 out channel"]
    bias: Float[Array, " out"]

    def __init__(self, channel: int, out: int, *, key: PRNGKeyArray):
        self.kernel = uniform(key, (4, 4, out, channel), fan_in=4 * channel)
        self.bias = jnp.zeros(out)

    def __call__(self, x: Float[Array, "height width channel"]) -> Float[Array, "_ _ out"]:
        return upsample(x, self.kernel) + self.bias


class VAE(eqx.Module):
    """Convolutional VAE of 64 x 64 frames; `widths` are the encoder's channels (paper: 32, 64, 128, 256).

    It sees frames whose values a tone curve has changed: straight lines through the points `tones`, a value
    and what becomes of it (paper: as they are).
    """

    down: list[Conv]
    to_latent: eqx.nn.Linear
    from_latent: eqx.nn.Linear
    up: list[ConvTranspose]
    latent_size: int = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    tones: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(
        self,
        *,
        latent_size: int,
        widths: Sequence[int] = (16, 32, 64, 128),
        tones: Sequence[Sequence[int]] = IDENTITY,
        key: PRNGKeyArray,
    ):
        if not 1 <= len(widths) <= MAX_CONVOLUTIONS:
            raise ValueError(f"found {len(widths)} widths, wanted 1 to {MAX_CONVOLUTIONS}")
        if not is_rising(tones):
            raise ValueError(f"found tones {[*map(list, tones)]}, expected {RISING}")
        down_key, up_key, to_key, from_key = jr.split(key, 4)
        channels = (FRAME_CHANNELS, *widths)
        side = FRAME_SIDE // 2 ** len(widths)
        pairs = list(itertools.pairwise(channels))
        keys = jr.split(down_key, len(widths))
        self.down = [Conv(a, b, key=k) for (a, b), k in zip(pairs, keys, strict=True)]
        keys = jr.split(up_key, len(widths))
        self.up = [ConvTranspose(b, a, key=k) for (a, b), k in zip(pairs[::-1], keys, strict=True)]
        self.to_latent = eqx.nn.Linear(side * side * widths[-1], 2 * latent_size, key=to_key)
        self.from_latent = eqx.nn.Linear(latent_size, side * side * widths[-1], key=from_key)
        self.latent_size = latent_size
        self.widths, self.tones = tuple(widths), tuple(map(tuple, tones))

    @property
    def sizes(self) -> dict[str, Any]:
        """What `__init__` takes, but for the key."""
        return {
            "latent_size": self.latent_size,
            "widths": list(self.widths),
            "tones": [list(point) for point in self.tones],
        }

    def encode(
        self, frame: UInt8[Array, "64 64 3"]
    ) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        """Mean and log-variance of the latent."""
        x = normalise(frame, self.tones)
        for conv in self.down:
            x = jax.nn.relu(conv(x))
        mu, logvar = jnp.split(self.to_latent(x.ravel()), 2)
        return mu, logvar

    def decode(self, z: Float[Array, " latent"]) -> Float[Array, "64 64 3"]:
        """The frame of a latent, in [0, 1]."""
        return denormalise(self.decode_toned(z), self.tones)

    def decode_toned(self, z: Float[Array, " latent"]) -> Float[Array, "64 64 3"]:
        """The frame of a latent as V sees it, in [0, 1]."""
        side = FRAME_SIDE // 2 ** len(self.widths)
        x = self.from_latent(z).reshape(side, side, self.widths[-1])
        for conv in self.up[:-1]:
            x = jax.nn.relu(conv(x))
        return jax.nn.sigmoid(self.up[-1](x))


@eqx.filter_jit
def encode(
    model: VAE, frames: UInt8[Array, "batch height width channel"]
) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]]:
    """Means and log-variances of many frames' latents."""
    return jax.vmap(model.encode)(frames)


@eqx.filter_jit
def decode(model: VAE, z: Float[Array, "batch latent"]) -> Float[Array, "batch height width channel"]:
    """The frames of many latents, in [0, 1]."""
    return jax.vmap(model.decode)(z)


def sample(
    mu: Float[Array, "*batch latent"], logvar: Float[Array, "*batch latent"], key: PRNGKeyArray
) -> Float[Array, "*batch latent"]:
    """A latent drawn from the encoder's normal distribution."""
    return mu + jnp.exp(logvar / 2) * jr.normal(key, mu.shape)


def loss(
    model: VAE,
    frames: UInt8[Array, "batch 64 64 3"],
    key: PRNGKeyArray,
    *,
    kl_weight: float = 1.0,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Squared error summed over the image plus weighted KL summed over the latent, mean of the batch."""
    mu, logvar = jax.vmap(model.encode)(frames)
    decoded = jax.vmap(model.decode_toned)(sample(mu, logvar, key))
    squared_error = jnp.sum(jnp.square(decoded - normalise(frames, model.tones))) / len(frames)
    kl = jnp.sum(jnp.square(mu) + jnp.exp(logvar) - 1 - logvar) / 2 / len(frames)
    total = squared_error + kl_weight * kl
    return total, {"loss": total, "squared_error": squared_error, "kl": kl}
