"""Our weights in PyTorch's networks of `bench.vae` and `bench.rnn`."""

from typing import Any

import numpy as np

from wm.models.rnn import RNN
from wm.models.vae import VAE
from wm.spec import FRAME_SIDE


def as_tensor(values: Any) -> Any:
    """A float32 tensor of the values."""
    import torch  # pyright: ignore[reportMissingImports]

    return torch.from_numpy(np.array(values, np.float32))


def put(layer: Any, **weights: Any) -> None:
    """Copies our weights to PyTorch's layer."""
    for name, values in weights.items():
        layer.get_parameter(name).data = as_tensor(values)


def put_vae(networks: tuple[Any, Any], ours: VAE) -> None:
    """Copies V to its encoder and decoder, channels first."""
    encoder, decoder = networks
    for layers, convs in ((encoder[::2], ours.down), (decoder[2::2], ours.up)):
        for layer, conv in zip(layers, convs, strict=False):
            put(layer, weight=np.transpose(conv.kernel, (3, 2, 0, 1)), bias=conv.bias)
    side, widest = FRAME_SIDE >> len(ours.widths), ours.widths[-1]

    def channels_first(leaf: Any) -> np.ndarray:
        return np.moveaxis(np.asarray(leaf).reshape(side, side, widest, -1), 2, 0).reshape(leaf.shape)

    put(encoder[-1], weight=channels_first(ours.to_latent.weight.T).T, bias=ours.to_latent.bias)
    first = decoder[0]
    put(first, weight=channels_first(ours.from_latent.weight), bias=channels_first(ours.from_latent.bias))


def put_rnn(networks: tuple[Any, Any], ours: RNN) -> None:
    """Copies M to PyTorch's LSTM and head."""
    lstm, head = networks
    put_lstm(lstm, ours, "_l0")
    put(head, weight=ours.head_weight.T, bias=ours.head_bias)


def put_lstm(layer: Any, ours: RNN, suffix: str = "") -> None:
    """PyTorch has candidate and output gate in the opposite order."""

    def reordered(leaf: Any) -> np.ndarray:
        enter, forget, leave, candidate = np.split(np.asarray(leaf), 4, axis=-1)
        return np.concatenate([enter, forget, candidate, leave], axis=-1).T

    weights = {
        f"weight_ih{suffix}": reordered(ours.input_weight),
        f"weight_hh{suffix}": reordered(ours.hidden_weight),
        f"bias_ih{suffix}": reordered(ours.gate_bias),
        f"bias_hh{suffix}": np.zeros_like(ours.gate_bias),
    }
    put(layer, **weights)
