"""Makes YAMNet, as published for 8-bit accelerators, a float32 model that returns embeddings.

The published graph simulates 8 bits between all layers although its weights are float32, takes one
patch, and returns classes only. The simulation is left out here, and the size of the batch freed.

The graph takes `audio`, float32 [batch, 1, 96, 64], and returns `embedding` [batch, 1024] and the
`scores` [batch, 521] of AudioSet's classes.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import TensorProto, helper

_OPSET, _IR_VERSION = 17, 8
_SIMULATION = frozenset({"QuantizeLinear", "DequantizeLinear"})


def convert_yamnet(archive: bytes) -> bytes:
    """Turn the published archive into an ONNX model; the same input gives the same bytes."""
    source = _load(archive).graph
    nodes = _without_simulation(source)
    nodes = [_with_embedding(node) for node in nodes]
    nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"]))
    used = {name for node in nodes for name in node.input}
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "yamnet",
        [helper.make_tensor_value_info("audio", floats, ["batch", 1, 96, 64])],
        [
            helper.make_tensor_value_info("embedding", floats, ["batch", 1024]),
            helper.make_tensor_value_info("scores", floats, ["batch", 521]),
        ],
        [each for each in source.initializer if each.name in used],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="lookalike",
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _load(archive: bytes) -> onnx.ModelProto:
    """Read a zip of `model.onnx` and the weights beside it; its hash was checked before."""
    with TemporaryDirectory(prefix="lookalike-yamnet-") as folder:
        with zipfile.ZipFile(BytesIO(archive)) as files:
            files.extractall(folder)
        (path,) = Path(folder).rglob("*.onnx")
        return onnx.load(path)


def _without_simulation(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Connect what lies around pairs of quantising and dequantising nodes."""
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type in _SIMULATION}

    def origin(name: str) -> str:
        while name in before:
            name = before[name]
        return name

    kept = [node for node in graph.node if node.op_type not in _SIMULATION]
    for node in kept:
        node.input[:] = [origin(name) for name in node.input]
    return kept


def _with_embedding(node: onnx.NodeProto) -> onnx.NodeProto:
    """Name what enters the classifier, the one `Gemm`, and what leaves it."""
    if node.op_type == "Reshape":  # to a batch of one
        return helper.make_node("Flatten", [node.input[0]], ["embedding"], axis=1)
    if node.op_type == "Gemm":
        node.input[0], node.output[0] = "embedding", "logits"
    return node
