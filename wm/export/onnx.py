"""V, M and C as ONNX files for other runtimes, their graphs built node by node.

Every graph has a free batch axis in front. Frames come in as they are at rest (uint8, channels last) and are
scaled inside. What inputs and outputs mean, and where the numbers come from, stands in the files.
"""

import importlib.util
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wm.agent import agent
from wm.agent.agent import Models
from wm.errors import BadInput
from wm.models.controller import Controller
from wm.models.rnn import MIN_LOG_SIGMA, REWARD_UNIT, RNN
from wm.models.vae import VAE
from wm.runtime import files
from wm.spec import ACTION_SIZE, FRAME_CHANNELS, FRAME_SIDE

OPSET, IR_VERSION = 17, 8  # of 2022, which every runtime of today reads
FRAME = ("batch", FRAME_SIDE, FRAME_SIDE, FRAME_CHANNELS)

SEEN = (
    "RGB, uint8, 0 to 255: rows 0 to 83 of the 96 x 96 state, averaged down to 64 x 64; divided by 255 inside"
)
ACTION = "steering in [-1, 1], gas in [0, 1], brake in [0, 1]"


class Graph:
    """An ONNX graph as it grows; its methods return the name of what they have made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any) -> str:
        """Numbers that belong to the graph."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """What `operator` makes of `inputs`; `output` where it is one of the graph's."""
        from onnx import helper

        name = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def split(self, value: str, outputs: list[str], sizes: list[int]) -> list[str]:
        """The parts of `value` along its last axis."""
        from onnx import helper

        parts = self.constant(np.array(sizes))
        self.nodes.append(helper.make_node("Split", [value, parts], outputs, axis=-1))
        return outputs

    def linear(self, value: str, weight: Any, bias: Any) -> str:
        """value @ weight + bias."""
        return self.add("Add", self.add("MatMul", value, self.constant(weight)), self.constant(bias))

    def curve(self, value: str, points: Sequence[Sequence[int]]) -> str:
        """What the straight lines through `points`, from (0, 0) on, make of `value`."""
        parts = []
        for (start, low), (end, high) in itertools.pairwise(points):
            within = self.add("Clip", value, *(self.constant(np.float32(edge)) for edge in (start, end)))
            above = self.add("Sub", within, self.constant(np.float32(start)))
            parts.append(self.add("Mul", above, self.constant(np.float32((high - low) / (end - start)))))
        return self.add("Sum", *parts)

    def layer(self, operator: str, value: str, kernel: Any, bias: Any) -> str:
        """A `Conv` or `ConvTranspose` of kernel 4, stride 2 and padding 1, channels first.

        Both kinds of kernel take the same turn: a transposed convolution has the kernel of the
        convolution that it transposes.
        """
        weight = self.constant(np.transpose(kernel, (3, 2, 0, 1)))
        return self.add(operator, value, weight, self.constant(bias), strides=[2, 2], pads=[1, 1, 1, 1])

    def finish(self, what: str, inputs: list[Any], outputs: list[Any], metadata: dict[str, str]) -> bytes:
        """The file, checked by ONNX."""
        import onnx
        from onnx import helper

        graph = helper.make_graph(self.nodes, "graph", inputs, outputs, self.constants, doc_string=what)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="wm",
            doc_string=what,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)


def tensor(name: str, shape: tuple[str | int, ...], what: str, kind: Any = np.float32) -> Any:
    """An input or output of a graph, and what it means."""
    from onnx import helper

    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape, doc_string=what
    )


def encoder(vae: VAE, metadata: dict[str, str]) -> bytes:
    """The graph `frame` -> `mu`, `logvar`."""
    from onnx import TensorProto

    graph, size = Graph(), vae.latent_size
    x = graph.add("Cast", "frame", to=TensorProto.FLOAT)
    x = graph.add("Div", graph.curve(x, vae.tones), graph.constant(np.float32(255)))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    for conv in vae.down:
        x = graph.add("Relu", graph.layer("Conv", x, conv.kernel, conv.bias))
    x = graph.add("Flatten", graph.add("Transpose", x, perm=[0, 2, 3, 1]), axis=1)
    out = graph.linear(x, vae.to_latent.weight.T, vae.to_latent.bias)
    graph.split(out, ["mu", "logvar"], [size, size])
    outputs = [
        tensor("mu", ("batch", size), "mean of the latent: what the agent drives by"),
        tensor("logvar", ("batch", size), "logarithm of the latent's variance"),
    ]
    return graph.finish(
        "V, a frame to its latent", [tensor("frame", FRAME, SEEN, np.uint8)], outputs, metadata
    )


def decoder(vae: VAE, metadata: dict[str, str]) -> bytes:
    """The graph `z` -> `frame`."""
    graph, side = Graph(), FRAME_SIDE // 2 ** len(vae.widths)
    x = graph.linear("z", vae.from_latent.weight.T, vae.from_latent.bias)
    x = graph.add("Reshape", x, graph.constant(np.array([0, side, side, vae.widths[-1]])))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    for conv in vae.up[:-1]:
        x = graph.add("Relu", graph.layer("ConvTranspose", x, conv.kernel, conv.bias))
    last = vae.up[-1]
    x = graph.add("Sigmoid", graph.layer("ConvTranspose", x, last.kernel, last.bias))
    x = graph.curve(graph.add("Mul", x, graph.constant(np.float32(255))), [(b, a) for a, b in vae.tones])
    x = graph.add("Div", x, graph.constant(np.float32(255)))
    graph.add("Transpose", x, perm=[0, 2, 3, 1], output="frame")
    inputs = [tensor("z", ("batch", vae.latent_size), "latent")]
    outputs = [tensor("frame", FRAME, "RGB in [0, 1]")]
    return graph.finish("V, a latent to its frame", inputs, outputs, metadata)


def rnn_step(rnn: RNN, metadata: dict[str, str]) -> bytes:
    """The graph of one step, memory in and memory out; ONNX forbids one name for both."""
    graph = Graph()
    seen = graph.add("Concat", "z", "action", axis=-1)
    remembered = graph.add("MatMul", "hidden", graph.constant(rnn.hidden_weight))
    gates = graph.add("Add", graph.linear(seen, rnn.input_weight, rnn.gate_bias), remembered)
    parts = graph.split(gates, ["enter", "forget", "leave", "candidate"], [rnn.hidden_size] * 4)
    enter, forget, leave = (graph.add("Sigmoid", part) for part in parts[:3])
    candidate = graph.add("Tanh", parts[3])
    kept, new = graph.add("Mul", forget, "cell"), graph.add("Mul", enter, candidate)
    cell = graph.add("Add", kept, new, output="cell_after")
    hidden = graph.add("Mul", leave, graph.add("Tanh", cell), output="hidden_after")
    predict(graph, rnn, hidden)
    state, mixture = ("batch", rnn.hidden_size), ("batch", rnn.mixtures, rnn.latent_size)
    choice = ("batch", rnn.mixtures, rnn.choices)
    inputs = [
        tensor("z", ("batch", rnn.latent_size), "latent of what is seen"),
        tensor("action", ("batch", ACTION_SIZE), f"the action taken then: {ACTION}"),
        tensor("hidden", state, "hidden state before, zeros at first"),
        tensor("cell", state, "cell before, zeros at first"),
    ]
    outputs = [
        tensor("logits", choice, "of the components of the next latent's mixture, not normalised"),
        tensor("mean", mixture, "of the components"),
        tensor("log_sigma", mixture, "logarithm of the components' standard deviation"),
        tensor("reward", ("batch",), "expected of the action, in points"),
        tensor("missed", ("batch",), "expected of the action, tiles gone past untouched"),
        tensor("done_logit", ("batch",), "logit of the probability that the action ended in failure"),
        tensor("hidden_after", state, "hidden state after, which the controller sees next"),
        tensor("cell_after", state, "cell after"),
    ]
    return graph.finish("M, one step", inputs, outputs, metadata)


def predict(graph: Graph, rnn: RNN, hidden: str) -> None:
    """Adds what `hidden` expects: `logits`, `mean`, `log_sigma`, `reward`, `missed`, `done_logit`."""
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
    seen = graph.add("Concat", "z", "hidden", axis=-1)
    raw = graph.linear(seen, controller.weight.T, controller.bias)
    steering, pedals = graph.split(raw, ["raw_steering", "raw_pedals"], [1, ACTION_SIZE - 1])
    squash = {"sigmoid": "Sigmoid", "tanh": "Tanh"}[controller.pedals]
    x = graph.add("Concat", graph.add("Tanh", steering), graph.add(squash, pedals), axis=-1)
    low, high = (graph.constant(limits) for limits in np.array(controller.limits, np.float32).T)
    graph.add("Min", graph.add("Max", x, low), high, output="action")
    inputs = [
        tensor("z", ("batch", rnn.latent_size), "latent of what is seen: the encoder's mu"),
        tensor("hidden", ("batch", rnn.hidden_size), "M's hidden state, zeros at first"),
    ]
    outputs = [tensor("action", ("batch", ACTION_SIZE), ACTION)]
    return graph.finish("C, what is seen to an action", inputs, outputs, metadata)


def export(folder: Path, out: Path) -> list[Path]:
    """Writes encoder, decoder, rnn_step and controller.onnx of the agent in `folder`; returns their paths.

    Raises BadInput where a model is missing or damaged, or `out` cannot be written.
    """
    check_installed()
    models = Models.within(folder)
    loaded = models.load()
    environment = agent.environment(folder)

    def origin(source: Path) -> dict[str, str]:
        return {
            "source": source.name,
            "source_sha256": files.sha256(source),
            "environment": json.dumps({"id": "CarRacing-v3", **environment.model_dump()}),
            "input": SEEN,
            "action": ACTION,
        }

    graphs = {
        "encoder": encoder(loaded.vae, origin(models.vae)),
        "decoder": decoder(loaded.vae, origin(models.vae)),
        "rnn_step": rnn_step(loaded.rnn, origin(models.rnn)),
        "controller": controller(loaded.controller, loaded.rnn, origin(models.controller)),
    }
    return [write(out / f"{name}.onnx", content) for name, content in graphs.items()]


def check_installed() -> None:
    """Raises BadInput where the package `onnx` is missing."""
    if importlib.util.find_spec("onnx") is None:
        raise BadInput("export-onnx: onnx is not installed. Run `uv sync --extra onnx`.")


def write(path: Path, content: bytes) -> Path:
    """Writes a file whole; returns its path. Raises BadInput."""
    try:
        with files.replacing(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, wanted a place to write to") from None
    return path
