"""TensorFlow.js graphs become ONNX models that compute the same."""

import base64
import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lookalike_encoder.install.nanodet import SIDE, centres
from lookalike_encoder.install.tfjs import TfjsError, read_tfjs
from lookalike_encoder.install.tfjs_onnx import OnnxGraph, translate

RANDOM = np.random.default_rng(5)


class Graph:
    """Writes a graph model, node by node."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = [{"name": "x", "op": "Placeholder"}]
        self.entries: list[dict[str, Any]] = []
        self.data = b""

    def const(self, name: str, value: Any, dtype: str = "int32", stored: str = "") -> str:
        array = np.asarray(value, stored or dtype)
        entry: dict[str, Any] = {"name": name, "shape": array.shape, "dtype": dtype}
        if stored:
            entry["quantization"] = {"dtype": stored, "original_dtype": dtype}
        self.entries.append(entry)
        self.data += array.tobytes()
        return self.add("Const", name)

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        node = {"name": name, "op": kind, "input": inputs, "attr": attributes}
        self.nodes.insert(0, node)  # in no useful order
        return name

    def files(self) -> tuple[bytes, bytes]:
        content = {
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": ["w.bin"], "weights": self.entries}],
        }
        return json.dumps(content).encode(), self.data

    def run(self, x: NDArray[np.float32], output: str) -> NDArray[np.float32]:
        """Translate it and run the ONNX model on a batch."""
        graph = OnnxGraph()
        translate(read_tfjs(*self.files()), graph)
        shape = ["n", *x.shape[1:]]
        outputs = [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * self.rank(output))
        ]
        model = graph.finish(
            "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], outputs
        )
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return np.asarray(session.run([output], {"x": x})[0])

    def rank(self, output: str) -> int:
        return 3 if output == "shaped" else 4


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def numbers(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(each) for each in values]}}


WINDOW = {"padding": text("VALID"), "strides": numbers(1, 2, 2, 1)}


def test_a_convolution_keeps_channels_last() -> None:
    kernel = RANDOM.normal(size=(3, 3, 2, 4)).astype(np.float16).astype(np.float32)
    graph = Graph()
    graph.const("kernel", kernel, "float32", stored="float16")
    graph.const("bias", [1, 2, 3, 4], "float32")
    graph.add("Conv2D", "conv", "x", "kernel:0", dilations=numbers(1, 1, 1, 1), **WINDOW)
    graph.add("Add", "sum", "conv", "bias", "^kernel")
    graph.add("LeakyRelu", "out", "sum", alpha={"f": 0.1})
    x = RANDOM.normal(size=(2, 7, 9, 2)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2]
    right = np.einsum("nyxcij,ijco->nyxo", windows, kernel) + np.arange(1, 5)
    assert np.allclose(graph.run(x, "out"), np.where(right > 0, right, right * 0.1), atol=1e-4)


def test_pooling_of_a_padded_picture() -> None:
    graph = Graph()
    graph.const("ends", [[0, 0], [1, 1], [1, 1], [0, 0]])
    graph.const("low", -9.0, "float32")
    graph.add("PadV2", "padded", "x", "ends", "low")
    graph.add("MaxPool", "out", "padded", ksize=numbers(1, 3, 3, 1), **WINDOW)
    x = RANDOM.normal(size=(1, 5, 5, 3)).astype(np.float32)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-9)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    assert np.allclose(graph.run(x, "out"), windows.max(axis=(-2, -1)))


def test_resizing_by_half_pixels() -> None:
    graph = Graph()
    graph.const("sides", [8, 12])
    graph.const("order", [0, 2, 3, 1])
    graph.add("Transpose", "turned", "x", "order")  # which ONNX Runtime would move
    graph.add("ResizeBilinear", "out", "turned", "sides", half_pixel_centers={"b": True})
    x = RANDOM.normal(size=(2, 1, 4, 6)).astype(np.float32)
    made = graph.run(x, "out")
    assert made.shape == (2, 8, 12, 1)
    assert np.allclose(made[:, 1, 1, 0], x[:, 0, :2, :2] @ [0.75, 0.25] @ [0.75, 0.25], atol=1e-5)


def test_shapes_are_computed_and_hold_for_any_batch() -> None:
    graph = Graph()
    for name, value in (("at", [[1]]), ("size", [3]), ("minus", [-1]), ("none", 0), ("base", 1)):
        graph.const(name, value)
    graph.const("ones", [0, 0, 5])
    graph.add("SparseToDense", "dense", "at", "size", "minus", "none")
    graph.const("first", [1, 0, 0])
    graph.add("AddV2", "some", "dense", "ones")
    graph.add("AddV2", "shape", "some", "first")
    graph.add("Reshape", "reshaped", "x", "shape")
    graph.const("lengths", [2, 3])
    graph.const("axis", 2)
    graph.add("SplitV", "split", "reshaped", "lengths", "axis")
    graph.add("ConcatV2", "swapped", "split:1", "split", "axis")
    graph.const("order", [0, 2, 1])
    graph.add("Transpose", "turned", "swapped", "order")
    graph.add("Sigmoid", "sure", "turned")
    graph.add("Identity", "shaped", "sure")
    x = RANDOM.normal(size=(3, 2, 2, 5)).astype(np.float32)
    flat = x.reshape(3, 4, 5)[..., [2, 3, 4, 0, 1]].transpose(0, 2, 1)
    assert np.allclose(graph.run(x, "shaped"), 1 / (1 + np.exp(-flat)), atol=1e-5)


def damaged(kind: str) -> tuple[bytes, bytes]:
    graph = Graph()
    graph.const("kernel", np.zeros((1, 1, 2, 2)), "float32", stored="float16")
    files, data = graph.files()
    if kind == "no JSON":
        return b"{", data
    if kind == "no graph":
        return b"{}", data
    if kind == "a list":
        return b"[]", data
    if kind == "weights too short":
        return files, data[:-1]
    if kind == "weights too long":
        return files, data + b"x"
    return files.replace(b'"dtype": "float16"', b'"dtype": "uint8"'), data


@pytest.mark.parametrize(
    "kind",
    ["no JSON", "no graph", "a list", "weights too short", "weights too long", "other weights"],
)
def test_what_is_no_graph_model_is_refused(kind: str) -> None:
    with pytest.raises(TfjsError):
        read_tfjs(*damaged(kind))


@pytest.mark.parametrize("fault", ["operation", "input", "cycle", "resizing"])
def test_what_cannot_be_translated_is_refused(fault: str) -> None:
    graph = Graph()
    graph.const("sides", [8, 8])
    kind = {"operation": "Einsum", "resizing": "ResizeBilinear"}.get(fault, "Identity")
    source = {"input": "nowhere", "cycle": "out"}.get(fault, "x")
    graph.add(kind, "out", source, "sides")
    with pytest.raises(TfjsError):
        translate(read_tfjs(*graph.files()), OnnxGraph())


def test_grids_of_cells_cover_the_frame() -> None:
    cells = centres()
    assert cells.shape == (3549, 3)
    assert cells[0].tolist() == [4, 4, 8]
    assert cells[1].tolist() == [12, 4, 8]
    assert cells[-1].tolist() == [SIDE - 16, SIDE - 16, 32]
