"""The converter of YAMNet, on a small graph built as the published one is."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lookalike_encoder.install.converters import find_converter

CHANNELS, CLASSES = 1024, 521


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray[np.float32]]:
    chance = np.random.default_rng(5)
    shapes = {"kernel": (CHANNELS, 1, 3, 3), "classes": (CHANNELS, CLASSES), "bias": (CLASSES,)}
    return {
        name: chance.normal(scale=0.2, size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def simulated(name: str, made: str) -> list[Any]:
    """Quantise and dequantise one tensor."""
    return [
        helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}.q"]),
        helper.make_node("DequantizeLinear", [f"{name}.q", "scale", "zero"], [made]),
    ]


@pytest.fixture(scope="module")
def archive(weights: dict[str, NDArray[np.float32]], tmp_path_factory: Any) -> bytes:
    """A zip of `model.onnx` with its weights beside it, as 8 bits are simulated in between."""
    nodes = [
        helper.make_node("DequantizeLinear", ["audio", "scale", "zero"], ["input"]),
        *simulated("kernel", "kernel.dq"),
        helper.make_node("Conv", ["input", "kernel.dq"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        *simulated("relu", "relu.dq"),
        helper.make_node("GlobalAveragePool", ["relu.dq"], ["pool"]),
        helper.make_node("Reshape", ["pool", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "classes", "bias"], ["gemm"]),
        helper.make_node("QuantizeLinear", ["gemm", "scale", "zero"], ["class_scores"]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constants += [
        numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
        numpy_helper.from_array(np.array(128, np.uint8), "zero"),
        numpy_helper.from_array(np.array([1, CHANNELS], np.int64), "shape"),
    ]
    octets = TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "published",
        [helper.make_tensor_value_info("audio", octets, [1, 1, 96, 64])],
        [helper.make_tensor_value_info("class_scores", octets, [1, CLASSES])],
        constants,
    )
    folder: Path = tmp_path_factory.mktemp("yamnet")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.data")
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as files:
        for name in ("model.onnx", "model.data"):
            files.write(folder / name, f"job/{name}")
    return buffer.getvalue()


def test_the_simulation_is_gone_and_the_batch_is_free(
    archive: bytes, weights: dict[str, NDArray[np.float32]]
) -> None:
    convert = find_converter("yamnet")
    content = convert(archive)
    assert content == convert(archive)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    patches = np.random.default_rng(6).normal(size=(3, 1, 96, 64)).astype(np.float32)
    embedding, scores = session.run(["embedding", "scores"], {"audio": patches})
    expected = convolved(patches, weights["kernel"])
    np.testing.assert_allclose(embedding, expected, rtol=1e-3, atol=1e-5)
    logits = expected @ weights["classes"] + weights["bias"]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-3)


def convolved(patches: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve, drop what is negative, average: [n, 1, rows, columns] → [n, channels]."""
    wide = np.pad(patches[:, 0], ((0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(1, 2))
    pieces = views.reshape(len(patches), -1, 9)
    made = [np.maximum(piece @ kernel.reshape(CHANNELS, 9).T, 0).mean(axis=0) for piece in pieces]
    return np.asarray(made, np.float32)
