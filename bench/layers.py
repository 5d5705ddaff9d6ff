"""Times of the VAE's layers: the fastest of several ways to write each operation in XLA, and PyTorch.

`uv run --extra bench python -m bench.layers` prints, for every layer and operation of a batch of 128, the
milliseconds of `wm/models/conv.py`, of the fastest way and of PyTorch, and the frames per second of training
and of encoding that follow from them. Each operation is timed alone. In a whole training step XLA fuses
some of them with other operations, so these times show which way is worth a try, not how long a step takes.

The operations: `down` is the convolution, and also the gradient with respect to the input of `up`; `up` is
its transpose, and also the gradient with respect to the input of `down`; `kernel` is the gradient with
respect to the kernel of either. "8 pieces" means that the batch is processed in 8 parts in turn, so
that patches stay in a core's cache.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from bench import process
from bench.timing import alternate
from bench.vae import BATCH, SMALL
from wm.models import conv
from wm.runtime import startup
from wm.spec import FRAME_CHANNELS, FRAME_SIDE

PIECES = 8
OURS, PEER = "ours", "PyTorch"

Image = Float[Array, "batch height width channel"]
Halved = Float[Array, "batch half_height half_width out"]
Kernel = Float[Array, "4 4 channel out"]


class Layer(NamedTuple):
    """A pair of layers that mirror each other: the side of the smaller image, the channels of both."""

    side: int
    channel: int
    out: int


def layers(widths: tuple[int, ...]) -> list[Layer]:
    """Those of a VAE of these widths, the largest images first."""
    channels = (FRAME_CHANNELS, *widths)
    return [Layer(FRAME_SIDE >> i + 1, channels[i], out) for i, out in enumerate(widths)]


def uses(layer: Layer) -> dict[str, int]:
    """How often a training step needs each operation: once in the encoder and once in the decoder;
    the gradient with respect to the frames is not needed."""
    return {"down": 2, "up": 1 if layer.channel == FRAME_CHANNELS else 2, "kernel": 2}


def shifted(x: Image) -> list[Halved]:
    """The four 2 x 2 blocks of the image's blocks under a kernel."""
    blocks = conv.to_blocks(x)
    down, across = blocks.shape[1] - 1, blocks.shape[2] - 1
    return [blocks[:, i : i + down, j : j + across] for i in (0, 1) for j in (0, 1)]


def taps(x: Image) -> list[Halved]:
    """The rows of each patch, in two halves."""
    batch, height, width, channel = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(
        batch, height + 2, width // 2 + 1, 2 * channel
    )
    return [padded[:, i : i + height : 2, j : j + width // 2] for i in range(4) for j in (0, 1)]


def down(x: Image, kernel: Kernel) -> Halved:
    """The operation of `conv.Conv`."""
    return (conv.downsample_colours if x.shape[-1] == FRAME_CHANNELS else conv.downsample)(x, kernel)


def down_by_patches(x: Image, kernel: Kernel) -> Halved:
    """One product of all patches."""
    return jnp.concatenate(taps(x), axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def down_by_sums(x: Image, kernel: Kernel) -> Halved:
    """Four products of blocks, added up."""
    weights = conv.kernel_of_blocks(kernel).reshape(4, -1, kernel.shape[-1])
    return sum((block @ weight for block, weight in zip(shifted(x), weights, strict=True)), jnp.zeros(()))


def up_by_patches(y: Halved, kernel: Kernel) -> Image:
    """One product of all patches."""
    weight = conv.kernel_of_blocks(kernel)[::-1, ::-1].swapaxes(2, 3)
    side = y.shape[1] + 1
    padded = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = [padded[:, i : i + side, j : j + side] for i in (0, 1) for j in (0, 1)]
    return conv.from_blocks(jnp.concatenate(patches, axis=-1) @ weight.reshape(-1, weight.shape[-1]))


def up_by_sums(y: Halved, kernel: Kernel) -> Image:
    """One product of the inputs, whose blocks are added up where they overlap."""
    weight = conv.kernel_of_blocks(kernel)
    spread = (y @ weight.transpose(3, 0, 1, 2).reshape(y.shape[-1], -1)).reshape(*y.shape[:3], 2, 2, -1)
    places = [(i, j) for i in (0, 1) for j in (0, 1)]
    padded = [jnp.pad(spread[:, :, :, i, j], ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0))) for i, j in places]
    return conv.from_blocks(sum(padded, jnp.zeros(())))


def kernel_of_downsample(x: Image, slope: Halved) -> Kernel:
    """The kernel's gradient, as in training the encoder."""
    kernel = jnp.zeros((4, 4, x.shape[-1], slope.shape[-1]))
    return jax.linear_transpose(lambda kernel: conv.downsample(x, kernel), kernel)(slope)[0]


def kernel_of_upsample(x: Image, slope: Halved) -> Kernel:
    """The kernel's gradient, as in training the decoder."""
    kernel = jnp.zeros((4, 4, x.shape[-1], slope.shape[-1]))
    return jax.linear_transpose(lambda kernel: conv.upsample_exchanged(slope, kernel), kernel)(x)[0]


def kernel_by_patches(x: Image, slope: Halved) -> Kernel:
    """One product of all patches."""
    patches = jnp.concatenate(taps(x), axis=-1)
    return jnp.einsum("byxp,byxo->po", patches, slope).reshape(4, 4, x.shape[-1], slope.shape[-1])


def kernel_by_sums(x: Image, slope: Halved) -> Kernel:
    """Four products of blocks."""
    parts = jnp.stack([jnp.einsum("byxp,byxo->po", block, slope) for block in shifted(x)])
    parts = parts.reshape(2, 2, 2, 2, x.shape[-1], slope.shape[-1])
    return parts.swapaxes(1, 2).reshape(4, 4, x.shape[-1], slope.shape[-1])


WAYS: dict[str, dict[str, Callable[..., Array]]] = {
    "down": {
        OURS: down,
        "blocks": conv.downsample_blocks,
        "patches": down_by_patches,
        "sums": down_by_sums,
    },
    "up": {OURS: conv.upsample, "patches": up_by_patches, "sums": up_by_sums},
    "kernel": {
        OURS: kernel_of_downsample,
        "exchanged": kernel_of_upsample,
        "patches": kernel_by_patches,
        "sums": kernel_by_sums,
    },
}


def in_pieces(operation: str, way: Callable[..., Array]) -> Callable[..., Array]:
    """The same, one part of the batch after the other; a kernel's gradients are added up."""

    def split(x: Array) -> Array:
        return x.reshape(PIECES, -1, *x.shape[1:])

    def apart(x: Image, kernel: Kernel) -> Array:
        parts = jax.lax.map(lambda part: way(part, kernel), split(x))
        return parts.reshape(-1, *parts.shape[2:])

    def together(x: Image, slope: Halved) -> Array:
        start = jnp.zeros((4, 4, x.shape[-1], slope.shape[-1]))
        return jax.lax.scan(
            lambda so_far, part: (so_far + way(*part), None), start, (split(x), split(slope))
        )[0]

    return together if operation == "kernel" else apart


def ways(operation: str) -> dict[str, Callable[..., Array]]:
    """All ways to write the operation."""
    whole = WAYS[operation]
    return whole | {f"{name}, {PIECES} pieces": in_pieces(operation, way) for name, way in whole.items()}


def given(layer: Layer) -> dict[str, tuple[Array, Array]]:
    """Arguments of the operations for one batch."""
    keys = jr.split(jr.key(0), 3)
    x = jr.normal(keys[0], (BATCH, 2 * layer.side, 2 * layer.side, layer.channel))
    y = jr.normal(keys[1], (BATCH, layer.side, layer.side, layer.out))
    kernel = jr.normal(keys[2], (4, 4, layer.channel, layer.out))
    return {"down": (x, kernel), "up": (y, kernel), "kernel": (x, y)}


def in_torch(operation: str, first: Array, second: Array) -> Callable[[], Any]:
    """The operation in PyTorch, channels first."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn import functional, grad  # pyright: ignore[reportMissingImports]

    def channels_first(x: Array) -> Any:
        return torch.from_numpy(np.array(x)).permute(0, 3, 1, 2).contiguous()

    def kernel_first(kernel: Array) -> Any:
        return torch.from_numpy(np.array(kernel)).permute(3, 2, 0, 1).contiguous()

    x = channels_first(first)
    if operation == "kernel":
        slope, shape = channels_first(second), (second.shape[-1], first.shape[-1], 4, 4)
        return lambda: grad.conv2d_weight(x, shape, slope, stride=2, padding=1)
    apply = functional.conv2d if operation == "down" else functional.conv_transpose2d
    kernel = kernel_first(second)
    return lambda: apply(x, kernel, stride=2, padding=1)


def jitted(way: Callable[..., Array], first: Array, second: Array) -> Callable[[], Array]:
    """A function that computes the operation and waits for the result."""
    compiled = jax.jit(way)
    return lambda: compiled(first, second).block_until_ready()


class Times(NamedTuple):
    """Milliseconds of conv.py, of the fastest way (with its name) and of PyTorch."""

    ours: float
    best: float
    name: str
    peer: float


def measured(operation: str, layer: Layer, rounds: int) -> Times:
    """All ways and PyTorch, in turn."""
    pair = given(layer)[operation]
    runs = {name: jitted(way, *pair) for name, way in ways(operation).items()}
    seconds = alternate({**runs, PEER: in_torch(operation, *pair)}, rounds)
    peer = seconds.pop(PEER)
    name = min(seconds, key=lambda name: seconds[name])
    return Times(1e3 * seconds[OURS], 1e3 * seconds[name], name, 1e3 * peer)


def main(rounds: int) -> None:
    print("| layer | operation | times in a step | ours, ms | fastest, ms | which | PyTorch, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    training, encoding = np.zeros(3), np.zeros(3)
    for layer in layers(SMALL):
        for operation, count in uses(layer).items():
            times = measured(operation, layer, rounds)
            spent = np.array([times.ours, times.best, times.peer])
            training += count * spent
            encoding += spent if operation == "down" else 0
            name = f"{2 * layer.side}, {layer.side} a side; {layer.channel}, {layer.out} channels"
            ours, best, peer = (f"{one:.1f}" for one in spent)
            cells = [name, operation, count, ours, best, times.name, peer]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    for name, spent in (("training", training), ("encoding", encoding)):
        ours, best, peer = (f"{1e3 * BATCH / one:,.0f}" for one in spent)
        share = f"{spent[2] / spent[1]:.2f}"
        print(f"{name}, frames a second: ours {ours}, fastest {best}, PyTorch {peer}; {share} of PyTorch")


if __name__ == "__main__":
    process.set_up()
    startup.convolve_without_ynnpack()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    main(parser.parse_args().rounds)
