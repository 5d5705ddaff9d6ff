"""V, M and C as ONNX files for other runtimes.

Every graph has a free batch axis in front. Frames are uint8 with channels last and are scaled inside. The
files describe their inputs and outputs; the metadata name the source of the weights.

Why the graphs are built node by node: jax2onnx 0.17.1 converts M's step, C and the decoder correctly, but
not the encoder with a free batch axis (its `pad` accepts constant shapes only). Its decoder has 280 nodes
instead of 25 and its file of C twice the size, without a gain in speed, and it installs Flax, Orbax, Optax
and TensorStore.
"""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from wm.agent.agent import Agent
from wm.agent.folder import AgentFolder
from wm.errors import BadInput
from wm.export.onnx_graph import Graph, tensor
from wm.export.output import replacing
from wm.models.controller import Controller
from wm.models.rnn import MIN_LOG_SIGMA, REWARD_UNIT, RNN
from wm.models.vae import VAE
from wm.packaged import installing
from wm.runtime import files
from wm.spec import ACTION_SIZE, FRAME_SHAPE, FRAME_SIDE

FRAME = ("batch", *FRAME_SHAPE)
FRAME_TEXT = "RGB, uint8, 0 to 255: rows 0 to 83 of the 96 x 96 state, averaged to 64 x 64; scaled inside"
ACTION_TEXT = "steering in [-1, 1], gas in [0, 1], brake in [0, 1]"


def encoder(vae: VAE, metadata: dict[str, str]) -> bytes:
    """The graph `frame` -> `mu`, `logvar`."""
    from onnx import TensorProto

    graph, size = Graph(), vae.latent_size
    x = graph.add("Cast", "frame", to=TensorProto.FLOAT)
    x = graph.add("Div", graph.curve(x, vae.tones), graph.constant(np.float32(255)))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    for conv in vae.down:
        x = graph.add("Relu", graph.convolution("Conv", x, conv.kernel, conv.bias))
    x = graph.add("Flatten", graph.add("Transpose", x, perm=[0, 2, 3, 1]), axis=1)
    out = graph.linear(x, vae.to_latent.weight.T, vae.to_latent.bias)
    graph.split(out, ["mu", "logvar"], [size, size])
    outputs = [
        tensor("mu", ("batch", size), "mean of the latent; the controller reads it"),
        tensor("logvar", ("batch", size), "log-variance of the latent"),
    ]
    return graph.finish(
        "V: a frame to its latent", [tensor("frame", FRAME, FRAME_TEXT, np.uint8)], outputs, metadata
    )


def decoder(vae: VAE, metadata: dict[str, str]) -> bytes:
    """The graph `z` -> `frame`."""
    graph, side = Graph(), FRAME_SIDE // 2 ** len(vae.widths)
    x = graph.linear("z", vae.from_latent.weight.T, vae.from_latent.bias)
    x = graph.add("Reshape", x, graph.constant(np.array([0, side, side, vae.widths[-1]])))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    for conv in vae.up[:-1]:
        x = graph.add("Relu", graph.convolution("ConvTranspose", x, conv.kernel, conv.bias))
    last = vae.up[-1]
    x = graph.add("Sigmoid", graph.convolution("ConvTranspose", x, last.kernel, last.bias))
    x = graph.curve(graph.add("Mul", x, graph.constant(np.float32(255))), [(b, a) for a, b in vae.tones])
    x = graph.add("Div", x, graph.constant(np.float32(255)))
    graph.add("Transpose", x, perm=[0, 2, 3, 1], output="frame")
    inputs = [tensor("z", ("batch", vae.latent_size), "latent")]
    outputs = [tensor("frame", FRAME, "RGB in [0, 1]")]
    return graph.finish("V: a latent to its frame", inputs, outputs, metadata)


def rnn_step(rnn: RNN, metadata: dict[str, str]) -> bytes:
    """The graph of one step. The new state has other names than the old one, as ONNX requires."""
    graph = Graph()
    inputs = graph.add("Concat", "z", "action", axis=-1)
    recurrent = graph.add("MatMul", "hidden", graph.constant(rnn.hidden_weight))
    gates = graph.add("Add", graph.linear(inputs, rnn.input_weight, rnn.gate_bias), recurrent)
    parts = graph.split(
        gates, ["input_gate", "forget_gate", "output_gate", "candidate"], [rnn.hidden_size] * 4
    )
    input_gate, forget_gate, output_gate = (graph.add("Sigmoid", part) for part in parts[:3])
    candidate = graph.add("Tanh", parts[3])
    kept, new = graph.add("Mul", forget_gate, "cell"), graph.add("Mul", input_gate, candidate)
    cell = graph.add("Add", kept, new, output="cell_after")
    hidden = graph.add("Mul", output_gate, graph.add("Tanh", cell), output="hidden_after")
    _add_prediction(graph, rnn, hidden)
    state, mixture = ("batch", rnn.hidden_size), ("batch", rnn.mixtures, rnn.latent_size)
    choice = ("batch", rnn.mixtures, rnn.choices)
    inputs = [
        tensor("z", ("batch", rnn.latent_size), "latent of the frame"),
        tensor("action", ("batch", ACTION_SIZE), f"the action taken: {ACTION_TEXT}"),
        tensor("hidden", state, "hidden state, zeros at the start"),
        tensor("cell", state, "cell state, zeros at the start"),
    ]
    outputs = [
        tensor("logits", choice, "unnormalised log-weights of the mixture of the next latent"),
        tensor("mean", mixture, "means of the components"),
        tensor("log_sigma", mixture, "log of the standard deviations of the components"),
        tensor("reward", ("batch",), "expected reward of the action, points"),
        tensor("missed", ("batch",), "expected number of newly missed tiles"),
        tensor("done_logit", ("batch",), "logit of the probability that the action ended in failure"),
        tensor("hidden_after", state, "new hidden state; the controller reads it next"),
        tensor("cell_after", state, "new cell state"),
    ]
    return graph.finish("M: one step", inputs, outputs, metadata)


def _add_prediction(graph: Graph, rnn: RNN, hidden: str) -> None:
    """Adds the outputs predicted from `hidden`, `logits` to `done_logit`."""
    out = graph.linear(hidden, rnn.head_weight, rnn.head_bias)
    widths = [rnn.mixtures * size for size in (rnn.choices, rnn.latent_size, rnn.latent_size)]
    parts = graph.split(out, [f"head_{i}" for i in range(6)], widths + [1] * 3)
    mixture = graph.constant(np.array([0, rnn.mixtures, -1]))
    flat = graph.constant(np.array([-1]))
    graph.add("Reshape", parts[0], mixture, output="logits")
    graph.add("Reshape", parts[1], mixture, output="mean")
    log_sigma = graph.add("Reshape", parts[2], mixture)
    graph.add("Max", log_sigma, graph.constant(np.float32(MIN_LOG_SIGMA)), output="log_sigma")
    reward = graph.add("Reshape", parts[3], flat)
    graph.add("Mul", reward, graph.constant(np.float32(REWARD_UNIT)), output="reward")
    graph.add("Reshape", parts[4], flat, output="missed")
    graph.add("Reshape", parts[5], flat, output="done_logit")


def controller(controller: Controller, rnn: RNN, metadata: dict[str, str]) -> bytes:
    """The graph `z`, `hidden` -> `action`."""
    graph = Graph()
    features = graph.add("Concat", "z", "hidden", axis=-1)
    raw = graph.linear(features, controller.weight.T, controller.bias)
    steering, pedals = graph.split(raw, ["raw_steering", "raw_pedals"], [1, ACTION_SIZE - 1])
    activation = {"sigmoid": "Sigmoid", "tanh": "Tanh"}[controller.pedals]
    x = graph.add("Concat", graph.add("Tanh", steering), graph.add(activation, pedals), axis=-1)
    low, high = (graph.constant(limits) for limits in np.array(controller.limits, np.float32).T)
    graph.add("Min", graph.add("Max", x, low), high, output="action")
    inputs = [
        tensor("z", ("batch", rnn.latent_size), "latent of the frame: the encoder's mu"),
        tensor("hidden", ("batch", rnn.hidden_size), "M's hidden state, zeros at the start"),
    ]
    outputs = [tensor("action", ("batch", ACTION_SIZE), ACTION_TEXT)]
    return graph.finish("C: latent and hidden state to an action", inputs, outputs, metadata)


def export(folder: Path, out: Path) -> list[Path]:
    """Writes encoder, decoder, rnn_step and controller.onnx of the agent in `folder`; returns the paths.

    Raises BadInput where a model is missing or damaged, or `out` cannot be written.
    """
    check_installed()
    models = AgentFolder(folder).files
    loaded = Agent.load(models)
    timing = AgentFolder(folder).timing()

    def origin(source: Path) -> dict[str, str]:
        return {
            "source": source.name,
            "source_sha256": files.sha256(source),
            "environment": json.dumps({"id": "CarRacing-v3", **asdict(timing)}),
            "input": FRAME_TEXT,
            "action": ACTION_TEXT,
        }

    graphs = {
        "encoder": encoder(loaded.vae, origin(models.vae)),
        "decoder": decoder(loaded.vae, origin(models.vae)),
        "rnn_step": rnn_step(loaded.rnn, origin(models.rnn)),
        "controller": controller(loaded.controller, loaded.rnn, origin(models.controller)),
    }
    return [_written(out / f"{name}.onnx", content) for name, content in graphs.items()]


def check_installed() -> None:
    """Raises BadInput where the package `onnx` is missing."""
    if importlib.util.find_spec("onnx") is None:
        raise BadInput(f"export-onnx: onnx is not installed. {installing('onnx')}")


def _written(path: Path, content: bytes) -> Path:
    """The path, after the content was written to it atomically. Raises BadInput."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)
    return path
