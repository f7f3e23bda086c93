"""Half-precision models take and return what the originals do, and make nearly the same of it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lookalike_encoder.adapters.float16 import convert_float16
from tests.support.onnx_graphs import pixel_model, save_outside, table, text_tower, token_model


def run(model: bytes, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [np.asarray(each) for each in session.run(None, inputs)]


def interface(model: bytes) -> list[bytes]:
    graph = onnx.load_model_from_string(model).graph
    return [bytes(each.SerializeToString()) for each in (*graph.input, *graph.output)]


TOKENS = {
    "input_ids": np.array([[3, 5, 7], [9, 9, 0]], np.int64),
    "attention_mask": np.array([[1, 1, 1], [1, 1, 0]], np.int64),
}
PIXELS = {"pixel_values": np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (pixel_model(8, 16), PIXELS),
        (pixel_model(8, 16, output="last_hidden_state"), PIXELS),
        (text_tower(16), TOKENS),
        (token_model(16, inputs=("input_ids", "attention_mask")), TOKENS),
    ],
)
def test_a_model_makes_nearly_the_same(
    model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]
) -> None:
    original = model.SerializeToString()
    made = convert_float16(original)
    assert interface(made) == interface(original)
    graph = onnx.load_model_from_string(made).graph
    used = {name for node in graph.node for name in node.input}
    types = {each.data_type for each in graph.initializer if each.name in used}
    assert TensorProto.FLOAT16 in types
    assert TensorProto.FLOAT not in types
    for half, full in zip(run(made, inputs), run(original, inputs), strict=True):
        assert half.dtype == full.dtype == np.float32
        np.testing.assert_allclose(half, full, rtol=0.01, atol=0.02)


def test_the_same_model_gives_the_same_bytes() -> None:
    original = text_tower(16).SerializeToString()
    assert convert_float16(original) == convert_float16(original)


def test_what_knows_no_half_precision_is_left_alone() -> None:
    """`CumSum` is one; it is also inside of a branch, which needs a tensor from outside."""
    wide = helper.make_tensor_value_info("wide", TensorProto.FLOAT, ["n", 4])
    branches: dict[str, Any] = {
        "then_branch": helper.make_graph(
            [helper.make_node("Add", ["product", "product"], ["wide"])], "twice", [], [wide]
        ),
        "else_branch": helper.make_graph(
            [helper.make_node("Identity", ["product"], ["wide"])], "once", [], [wide]
        ),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
        helper.make_node("If", ["yes"], ["chosen"], **branches),
        helper.make_node("CumSum", ["chosen", "axis"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(table(1, 4, 4), "weights"),
            numpy_helper.from_array(np.array(1, np.int64), "axis"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    inputs = {"x": table(2, 3, 4)}
    (made,) = run(convert_float16(model.SerializeToString()), inputs)
    np.testing.assert_allclose(made, np.cumsum(2 * inputs["x"] @ table(1, 4, 4), axis=1), atol=0.05)


def test_weights_in_further_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    save_outside(pixel_model(8, 16), path)
    with pytest.raises(ValueError, match="further files"):
        convert_float16(path.read_bytes())
