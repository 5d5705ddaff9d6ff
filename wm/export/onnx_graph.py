"""Builds an ONNX graph node by node."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

OPSET, IR_VERSION = 17, 8  # of 2022; today's runtimes support them


class Graph:
    """A growing ONNX graph; its methods return the name of the value that they add."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any) -> str:
        """An array that is stored in the graph."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """The result of `operator`; `output` is its name if it is an output of the graph."""
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
        """`value` mapped by the piecewise linear curve through `points`, which begins at (0, 0)."""
        segments = []
        for (start, low), (end, high) in itertools.pairwise(points):
            clipped = self.add("Clip", value, *(self.constant(np.float32(edge)) for edge in (start, end)))
            above = self.add("Sub", clipped, self.constant(np.float32(start)))
            segments.append(self.add("Mul", above, self.constant(np.float32((high - low) / (end - start)))))
        return self.add("Sum", *segments)

    def convolution(self, operator: str, value: str, kernel: Any, bias: Any) -> str:
        """A `Conv` or `ConvTranspose` of kernel 4, stride 2 and padding 1, channels first.

        Both take the axes of the kernel in the same order, because a transposed convolution has the kernel of
        the convolution that it transposes.
        """
        weight = self.constant(np.transpose(kernel, (3, 2, 0, 1)))
        return self.add(operator, value, weight, self.constant(bias), strides=[2, 2], pads=[1, 1, 1, 1])

    def finish(
        self, description: str, inputs: list[Any], outputs: list[Any], metadata: dict[str, str]
    ) -> bytes:
        """The file's content, after ONNX's checks."""
        import onnx
        from onnx import helper

        graph = helper.make_graph(
            self.nodes, "graph", inputs, outputs, self.constants, doc_string=description
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="wm",
            doc_string=description,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)


def tensor(name: str, shape: tuple[str | int, ...], description: str, kind: Any = np.float32) -> Any:
    """An input or output of a graph, with its description."""
    from onnx import helper

    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape, doc_string=description
    )
