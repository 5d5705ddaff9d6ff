"""The variational autoencoder: a frame to a latent and back (V; Ha & Schmidhuber 2018, appendix A.1).

Differs from the paper in its padding: every convolution has kernel 4, stride 2 and padding 1, so sizes halve
(64, 32, 16, 8, 4) and the decoder mirrors the encoder. Channels come last.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar, UInt8

from wm.models.conv import Conv, ConvTranspose
from wm.models.latent import sample
from wm.spec import (
    FRAME_CHANNELS,
    FRAME_SIDE,
    IDENTITY_CURVE,
    MAX_CONVOLUTIONS,
    TONE_CURVE_RULE,
    is_tone_curve,
)


def normalise(
    frames: UInt8[Array, "*batch height width channel"], tones: Sequence[Sequence[int]] = IDENTITY_CURVE
) -> Float[Array, "*batch height width channel"]:
    """Frames as floats in [0, 1], mapped by the tone curve through the points `tones`."""
    return along_curve(frames.astype(jnp.float32), tones)


def denormalise(
    toned: Float[Array, "*batch height width channel"], tones: Sequence[Sequence[int]]
) -> Float[Array, "*batch height width channel"]:
    """The inverse of `normalise`: pixel values in [0, 1]."""
    return along_curve(255 * toned, [(output, value) for value, output in tones])


def along_curve(
    x: Float[Array, "*batch height width channel"], points: Sequence[Sequence[int]]
) -> Float[Array, "*batch height width channel"]:
    """Values up to 255 mapped by the piecewise linear curve through `points`, divided by 255."""
    y = jnp.zeros_like(x)
    for (start, low), (end, high) in itertools.pairwise(points):
        y += (jnp.clip(x, start, end) - start) * ((high - low) / (end - start) / 255)
    return y


class VAE(eqx.Module):
    """Convolutional VAE of 64 x 64 frames.

    `widths` are the channels of the encoder's convolutions (paper: 32, 64, 128, 256). `tones` are the points
    (input, output) of the piecewise linear tone curve applied to pixel values (paper: the identity).
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
        tones: Sequence[Sequence[int]] = IDENTITY_CURVE,
        key: PRNGKeyArray,
    ):
        if not 1 <= len(widths) <= MAX_CONVOLUTIONS:
            raise ValueError(f"widths: found {len(widths)}, expected 1 to {MAX_CONVOLUTIONS}")
        if not is_tone_curve(tones):
            raise ValueError(f"tones: found {[*map(list, tones)]}, expected {TONE_CURVE_RULE}")
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
        """The arguments of `__init__` except the key."""
        return {
            "latent_size": self.latent_size,
            "widths": list(self.widths),
            "tones": [list(point) for point in self.tones],
        }

    def encode(
        self, frame: UInt8[Array, "64 64 3"]
    ) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        """Mean and log-variance of a frame's latent."""
        x = normalise(frame, self.tones)
        for conv in self.down:
            x = jax.nn.relu(conv(x))
        mu, logvar = jnp.split(self.to_latent(x.ravel()), 2)
        return mu, logvar

    def decode(self, z: Float[Array, " latent"]) -> Float[Array, "64 64 3"]:
        """The frame of a latent, in [0, 1]."""
        return denormalise(self.decode_toned(z), self.tones)

    def decode_toned(self, z: Float[Array, " latent"]) -> Float[Array, "64 64 3"]:
        """The frame of a latent, its pixel values mapped by the tone curve, in [0, 1]."""
        side = FRAME_SIDE // 2 ** len(self.widths)
        x = self.from_latent(z).reshape(side, side, self.widths[-1])
        for conv in self.up[:-1]:
            x = jax.nn.relu(conv(x))
        return jax.nn.sigmoid(self.up[-1](x))


@eqx.filter_jit
def encode(
    model: VAE, frames: UInt8[Array, "batch height width channel"]
) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]]:
    """Means and log-variances of a batch of frames' latents."""
    return jax.vmap(model.encode)(frames)


@eqx.filter_jit
def decode(model: VAE, z: Float[Array, "batch latent"]) -> Float[Array, "batch height width channel"]:
    """The frames of a batch of latents, in [0, 1]."""
    return jax.vmap(model.decode)(z)


def loss(
    model: VAE,
    frames: UInt8[Array, "batch 64 64 3"],
    key: PRNGKeyArray,
    *,
    kl_weight: float = 1.0,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Squared error, summed over the image, plus weighted KL, summed over the latent; means over the batch.

    The squared error is that of the frames mapped by the tone curve.
    """
    mu, logvar = jax.vmap(model.encode)(frames)
    decoded = jax.vmap(model.decode_toned)(sample(mu, logvar, key))
    squared_error = jnp.sum(jnp.square(decoded - normalise(frames, model.tones))) / len(frames)
    kl = jnp.sum(jnp.square(mu) + jnp.exp(logvar) - 1 - logvar) / 2 / len(frames)
    total = squared_error + kl_weight * kl
    return total, {"loss": total, "squared_error": squared_error, "kl": kl}
