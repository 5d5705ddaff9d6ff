"""Speed of the VAE compared with the same network in the libraries' convolutions and in PyTorch.

`uv run python -m bench.vae [--paper]` prints frames per second of training (batch 128, Adam) and of encoding.
The networks: `ours`; `lax` (channels last, `jax.lax` convolutions) and `equinox` (channels first,
`eqx.nn.Conv2d` and `ConvTranspose2d`), of which the faster counts; and `torch`, if PyTorch is installed.
`products` are only the matrix products of the layers in XLA, as ours without gathering patches.
"""

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from bench import process
from bench.timing import MATRIX_FLOP, MATRIX_NAME, Row, alternate, matrix_product, show
from wm.models import conv, vae
from wm.models.vae import VAE

BATCH, LATENT = 128, 32
SMALL, PAPER = (16, 32, 64, 128), (32, 64, 128, 256)
LAYOUT = ("NHWC", "HWIO", "NHWC")


class LaxConv(eqx.Module):
    """A layer of ours, computed by `jax.lax`."""

    layer: conv.Conv | conv.ConvTranspose

    def __call__(self, x):
        kernel = self.layer.kernel
        if isinstance(self.layer, conv.Conv):
            y = jax.lax.conv_general_dilated(x[None], kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=LAYOUT)
        else:
            y = jax.lax.conv_transpose(
                x[None],
                kernel,
                (2, 2),
                [(2, 2)] * 2,
                dimension_numbers=LAYOUT,
                transpose_kernel=True,
            )
        return y[0] + self.layer.bias


class ChannelsFirst(eqx.Module):
    """A layer of Equinox, transposed to be put where one of ours was; XLA removes inner transposes."""

    layer: eqx.nn.Conv2d | eqx.nn.ConvTranspose2d

    def __call__(self, x):
        return self.layer(x.transpose(2, 0, 1)).transpose(1, 2, 0)


def equinox_layer(layer: conv.Conv | conv.ConvTranspose) -> ChannelsFirst:
    """Equinox's layer of the same size, kernel 4, stride 2, padding 1."""
    if isinstance(layer, conv.Conv):
        channel, out = layer.kernel.shape[2:]
        return ChannelsFirst(eqx.nn.Conv2d(channel, out, 4, 2, 1, key=jr.key(0)))
    out, channel = layer.kernel.shape[2:]
    return ChannelsFirst(eqx.nn.ConvTranspose2d(channel, out, 4, 2, padding=1, key=jr.key(0)))


def with_layers(model: VAE, change: Callable) -> VAE:
    """The model with every convolution replaced."""
    layers = ([change(layer) for layer in model.down], [change(layer) for layer in model.up])
    return eqx.tree_at(lambda model: (model.down, model.up), model, layers)


def trainer(model: VAE, frames: np.ndarray) -> Callable[[], None]:
    """A function that takes one training step and waits for it."""
    optimiser = optax.adam(1e-3)
    state = optimiser.init(eqx.filter(model, eqx.is_array))
    batch = jnp.asarray(frames)

    @eqx.filter_jit(donate="all-except-first")
    def step(batch, model, state):
        grad = eqx.filter_grad(vae.loss, has_aux=True)
        grads, metrics = grad(model, batch, jr.key(0))
        updates, state = optimiser.update(grads, state)
        return eqx.apply_updates(model, updates), state, metrics["loss"]

    def run() -> None:
        nonlocal model, state
        model, state, total = step(batch, model, state)
        total.block_until_ready()

    model = jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, model)
    return run


def encoder(model: VAE, frames: np.ndarray) -> Callable[[], None]:
    """A function that encodes the batch and waits for it."""
    encode = eqx.filter_jit(lambda model, batch: jax.vmap(model.encode)(batch))
    batch = jnp.asarray(frames)
    return lambda: jax.block_until_ready(encode(model, batch)) and None


def torch_networks(widths: tuple[int, ...]) -> tuple[Any, Any]:
    """Encoder and decoder in PyTorch, channels first."""
    from torch import nn  # pyright: ignore[reportMissingImports]

    pairs = list(zip((3, *widths[:-1]), widths, strict=True))
    down = [m for a, b in pairs for m in (nn.Conv2d(a, b, 4, 2, 1), nn.ReLU())]
    up = [m for a, b in pairs[::-1] for m in (nn.ConvTranspose2d(b, a, 4, 2, 1), nn.ReLU())][:-1]
    encode = nn.Sequential(*down, nn.Flatten(), nn.Linear(16 * widths[-1], 2 * LATENT))
    start = [nn.Linear(LATENT, 16 * widths[-1]), nn.Unflatten(1, (widths[-1], 4, 4))]
    return encode, nn.Sequential(*start, *up, nn.Sigmoid())


def torch_pair(widths: tuple[int, ...], frames: np.ndarray) -> tuple[Callable, Callable]:
    """The same training step and encoding in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    encode, decode = torch_networks(widths)
    adam = torch.optim.Adam([*encode.parameters(), *decode.parameters()], lr=1e-3)
    x = torch_frames(frames)

    def train() -> None:
        adam.zero_grad()
        torch_loss((encode, decode), x).backward()
        adam.step()

    def run() -> None:
        with torch.no_grad():
            encode(x.float() / 255)

    return train, run


def torch_loss(networks: tuple[Any, Any], x: Any) -> Any:
    """`vae.loss` in PyTorch of bytes, channels first."""
    import torch  # pyright: ignore[reportMissingImports]

    encode, decode = networks
    x = x.float() / 255
    mu, logvar = encode(x).float().chunk(2, dim=1)
    y = decode(mu + torch.exp(logvar / 2) * torch.randn_like(mu)).float()
    kl = (mu.square() + logvar.exp() - 1 - logvar).sum() / 2
    return ((y - x).square().sum() + kl) / len(x)


def torch_frames(frames: np.ndarray, *, channels_last: bool = False) -> Any:
    """Frames in PyTorch, channels first, in memory in this order unless `channels_last`."""
    import torch  # pyright: ignore[reportMissingImports]

    x = torch.from_numpy(frames).permute(0, 3, 1, 2)
    return x if channels_last else x.contiguous()


def encoding_shapes(widths: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Rows, inner size and columns of the encoder's matrix products for a batch."""
    sides = [64 >> i for i in range(1, len(widths) + 1)]
    layers = zip((3, *widths[:-1]), widths, sides, strict=True)
    convolutions = [(BATCH * side**2, 16 * channel, out) for channel, out, side in layers]
    return [*convolutions, (BATCH, sides[-1] ** 2 * widths[-1], 2 * LATENT)]


def training_shapes(widths: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """The same of a training step, for each layer and its mirror in the decoder: the forward product and both
    gradient products; the first layer needs no input gradient."""
    encoding = encoding_shapes(widths)
    forward = [shape for rows, inner, columns in encoding for shape in ((rows, inner, columns),) * 2]
    to_kernel = [shape for rows, inner, columns in encoding for shape in ((inner, rows, columns),) * 2]
    to_input = [shape for rows, inner, columns in encoding for shape in ((rows, columns, inner),) * 2]
    return [*forward, *to_kernel, *to_input[1:]]


def products(shapes: list[tuple[int, int, int]]) -> Callable[[], None]:
    """A function that does these matrix products and waits for them."""
    pairs = [(jnp.ones((rows, inner)), jnp.ones((inner, columns))) for rows, inner, columns in shapes]
    multiply = jax.jit(lambda pairs: [a @ b for a, b in pairs])
    return lambda: jax.block_until_ready(multiply(pairs)) and None


def encoding_flop(widths: tuple[int, ...]) -> int:
    """Operations of the encoder's products for one frame; the decoder's are nearly as many."""
    return sum(2 * rows * inner * columns for rows, inner, columns in encoding_shapes(widths)) // BATCH


def rows(widths: tuple[int, ...] = SMALL, rounds: int = 8) -> list[Row]:
    """Frames per second of training and of encoding at these widths, computed as in the stages."""
    return process.convolving(rows_here, widths, rounds)


def rows_here(widths: tuple[int, ...], rounds: int) -> list[Row]:
    """The rows, measured in this process."""
    flop = encoding_flop(widths)
    training, encoding = measured(widths, rounds)
    size = "" if widths == SMALL else f" {'-'.join(map(str, widths))}"
    return [
        *compared(f"V training{size}", training, 6 * flop),
        *compared(f"V encoding{size}", encoding, flop),
    ]


def compared(path: str, seconds: dict[str, float], flop: int) -> list[Row]:
    """A line for the library's convolutions, and two if PyTorch is installed: one for our layers, one for the
    matrix products alone."""
    rates = {name: BATCH / time for name, time in seconds.items() if name != MATRIX_NAME}
    limit = MATRIX_FLOP / seconds[MATRIX_NAME] / flop
    library = max(rates["lax"], rates["equinox"])
    peers = {"jax.lax": library} | ({"PyTorch": rates["torch"]} if "torch" in rates else {})
    rows = [Row(path, "frames", rates["ours"], *peer, MATRIX_NAME, limit) for peer in peers.items()]
    alone = f"{path}, products alone", "frames", rates["products"]
    return [*rows, Row(*alone, *list(peers.items())[-1], MATRIX_NAME, limit)]


def measured(widths: tuple[int, ...], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of a training step, and of encoding a batch."""
    frames = np.random.default_rng(0).integers(0, 256, (BATCH, 64, 64, 3), dtype=np.uint8)
    model = VAE(latent_size=LATENT, widths=widths, key=jr.key(0))
    models = {
        "ours": model,
        "lax": with_layers(model, LaxConv),
        "equinox": with_layers(model, equinox_layer),
    }
    train = {name: trainer(model, frames) for name, model in models.items()}
    encode = {name: encoder(model, frames) for name, model in models.items()}
    if importlib.util.find_spec("torch"):
        train["torch"], encode["torch"] = torch_pair(widths, frames)
    train["products"] = products(training_shapes(widths))
    encode["products"] = products(encoding_shapes(widths))
    limit = {MATRIX_NAME: matrix_product()}
    return alternate({**train, **limit}, rounds), alternate({**encode, **limit}, 5 * rounds)


if __name__ == "__main__":
    process.set_up()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paper", action="store_true", help="the paper's widths too")
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    for widths in (SMALL, PAPER) if arguments.paper else (SMALL,):
        show(rows(widths, arguments.rounds))
