"""Translates TensorFlow.js graphs into ONNX, node by node.

TensorFlow keeps channels last and ONNX first, so a convolution is put between two transpositions;
neighbours cancel out when ONNX Runtime loads the model. What depends on constants only (shapes,
mostly) is computed here. Only the operations that our models need are known.
"""

from __future__ import annotations

from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lookalike_encoder.install.tfjs import Tensor, TfjsError, TfjsModel, TfjsNode

OPSET, IR_VERSION = 18, 8
_FIRST, _LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class OnnxGraph:
    """Collects nodes and constants; methods return the name of what they made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(
        self,
        kind: str,
        inputs: list[str],
        *outputs: str,
        **attributes: Any,  # noqa: ANN401 - of every type that ONNX knows
    ) -> str:
        """Add a node; the first output's name is returned."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, once."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def finish(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> bytes:
        """Return the checked model as a file; the same nodes give the same bytes."""
        constants = list(self._constants.values())
        graph = helper.make_graph(self.nodes, name, inputs, outputs, constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="lookalike",
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def translate(model: TfjsModel, graph: OnnxGraph) -> None:
    """Add all nodes of a model, under their own names; raises TfjsError.

    The first dimension of every tensor may be any number, whatever the model was saved for.
    """
    _Translator(model, graph).run()


class _Translator:
    def __init__(self, model: TfjsModel, graph: OnnxGraph) -> None:
        self._model = model
        self._graph = graph
        self._known: dict[str, Tensor] = dict(model.weights)
        """What is computed here, by the name of its node."""
        self._kinds: dict[str, Callable[[TfjsNode], object]] = {
            "Add": self._sum,
            "AddV2": self._sum,
            "ConcatV2": self._concatenation,
            "Const": self._nothing,
            "Conv2D": self._convolution,
            "Identity": self._same,
            "LeakyRelu": self._leaky_relu,
            "MaxPool": self._pooling,
            "Pad": self._padding,
            "PadV2": self._padding,
            "Placeholder": self._nothing,
            "Reshape": self._shape,
            "ResizeBilinear": self._resizing,
            "Sigmoid": self._same,
            "SparseToDense": self._dense,
            "SplitV": self._split,
            "Transpose": self._transposition,
        }

    def run(self) -> None:
        nodes = self._model.nodes
        needs = {
            name: [each.partition(":")[0] for each in node.inputs] for name, node in nodes.items()
        }
        try:
            for name in TopologicalSorter(needs).static_order():
                node = nodes[name]
                self._kinds[node.kind](node)
        except (KeyError, IndexError, CycleError) as error:
            raise TfjsError(f"the graph cannot be translated: {error!r}") from error

    def _nothing(self, node: TfjsNode) -> None:
        """Weights are constants already, and inputs are declared by whoever finishes the graph."""

    def _sum(self, node: TfjsNode) -> None:
        if all(each in self._known for each in node.inputs):
            first, second = (self._known[each] for each in node.inputs)
            self._known[node.name] = first + second
            return
        self._graph.add("Add", self._inputs(node), node.name)

    def _same(self, node: TfjsNode) -> None:
        self._graph.add(node.kind, self._inputs(node), node.name)

    def _leaky_relu(self, node: TfjsNode) -> None:
        self._graph.add("LeakyRelu", self._inputs(node), node.name, alpha=node.number("alpha"))

    def _concatenation(self, node: TfjsNode) -> None:
        inputs = [self._input(each) for each in node.inputs[:-1]]
        self._graph.add("Concat", inputs, node.name, axis=int(self._known[node.inputs[-1]]))

    def _transposition(self, node: TfjsNode) -> None:
        order = [int(each) for each in self._known[node.inputs[1]]]
        self._graph.add("Transpose", [self._input(node.inputs[0])], node.name, perm=order)

    def _convolution(self, node: TfjsNode) -> None:
        kernel = self._known[node.inputs[1]].transpose(3, 2, 0, 1)
        self._channels_first(
            "Conv",
            node,
            [self._constant(f"{node.name}.kernel", kernel)],
            kernel_shape=list(kernel.shape[2:]),
            strides=node.integers("strides")[1:3],
            dilations=node.integers("dilations")[1:3],
            auto_pad=_auto_pad(node),
        )

    def _pooling(self, node: TfjsNode) -> None:
        self._channels_first(
            "MaxPool",
            node,
            kernel_shape=node.integers("ksize")[1:3],
            strides=node.integers("strides")[1:3],
            auto_pad=_auto_pad(node),
        )

    def _resizing(self, node: TfjsNode) -> None:
        if not node.flag("half_pixel_centers") or node.flag("align_corners"):
            raise TfjsError(f"{node.name} resizes in a way that is not known here")
        sides = self._constant(f"{node.name}.sides", self._known[node.inputs[1]].astype(np.int64))
        # All four sizes, though `axes` would do: ONNX Runtime 1.31 moves transpositions past that.
        source, planes, sizes = node.inputs[0], f"{node.name}.planes", f"{node.name}.sizes"
        self._graph.add("Transpose", [self._input(source)], f"{node.name}.first", perm=_FIRST)
        self._graph.add("Shape", [f"{node.name}.first"], planes, start=0, end=2)
        self._graph.add("Concat", [planes, sides], sizes, axis=0)
        self._channels_first(
            "Resize",
            node,
            ["", "", sizes],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def _padding(self, node: TfjsNode) -> None:
        ends = self._known[node.inputs[1]].astype(np.int64).T.reshape(-1)
        inputs = [self._input(node.inputs[0]), self._constant(f"{node.name}.ends", ends)]
        inputs += [self._input(each) for each in node.inputs[2:]]  # what fills
        self._graph.add("Pad", inputs, node.name)

    def _shape(self, node: TfjsNode) -> None:
        shape = self._known[node.inputs[1]].astype(np.int64)
        if shape[0] == 1:
            shape[0] = 0  # as many as there are
        inputs = [self._input(node.inputs[0]), self._constant(f"{node.name}.shape", shape)]
        self._graph.add("Reshape", inputs, node.name)

    def _dense(self, node: TfjsNode) -> None:
        """Compute a tensor that is given by its places, shape, values and what is elsewhere."""
        places, shape, values, elsewhere = (self._known[each] for each in node.inputs)
        dense = np.full(tuple(shape), elsewhere.reshape(-1)[0] if elsewhere.size else 0)
        if places.size:
            dense[tuple(places.reshape(-1, dense.ndim).T)] = values
        self._known[node.name] = dense

    def _split(self, node: TfjsNode) -> None:
        value, sizes, axis = node.inputs
        lengths, along = self._known[sizes].astype(np.int64), int(self._known[axis])
        names = [
            node.name if not place else f"{node.name}:{place}" for place in range(len(lengths))
        ]
        inputs = [self._input(value), self._constant(f"{node.name}.lengths", lengths)]
        self._graph.add("Split", inputs, *names, axis=along)

    def _channels_first(
        self,
        kind: str,
        node: TfjsNode,
        further: list[str] | None = None,
        **attributes: Any,  # noqa: ANN401 - of every type that ONNX knows
    ) -> None:
        """Add a node of ONNX's between two transpositions."""
        source, before, after = self._input(node.inputs[0]), f"{node.name}.in", f"{node.name}.out"
        self._graph.add("Transpose", [source], before, perm=_FIRST)
        self._graph.add(kind, [before, *(further or [])], after, **attributes)
        self._graph.add("Transpose", [after], node.name, perm=_LAST)

    def _inputs(self, node: TfjsNode) -> list[str]:
        return [self._input(each) for each in node.inputs]

    def _input(self, name: str) -> str:
        """Return a tensor's name, a constant if it is known here."""
        return self._constant(name, self._known[name]) if name in self._known else name

    def _constant(self, name: str, value: Tensor) -> str:
        return self._graph.constant(name, value)


def _auto_pad(node: TfjsNode) -> str:
    return {"SAME": "SAME_UPPER", "VALID": "VALID"}[node.text("padding")]
