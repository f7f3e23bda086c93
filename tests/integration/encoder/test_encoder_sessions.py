"""What runs models: shared by content, bound to devices, and not kept larger than is usual."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.adapters.local_runtime import LocalRuntime
from lookalike_encoder.adapters.ort_session import OrtOptions, OrtSession
from tests.support.tiny_model import SIDE, TinyModels

CPU = OrtOptions(device="cpu", threads=1)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyModels:
    tiny = TinyModels(tmp_path)
    tiny.write(seed=1)
    return tiny


def test_the_same_model_is_loaded_once_and_leaves_with_its_last_user(tiny: TinyModels) -> None:
    tiny.write(seed=1, version="2")
    tiny.write(seed=3, version="3")
    with ThreadPoolExecutor(1) as threads:
        runtime = LocalRuntime(CPU, threads)
        first = runtime.open_session(tiny.model_file("1"))
        assert runtime.open_session(tiny.model_file("2")) is first
        assert runtime.open_session(tiny.model_file("3")) is not first
        alive = weakref.ref(first)
        del first
        gc.collect()
        assert alive() is None


def test_models_with_weights_outside_are_not_shared(tiny: TinyModels) -> None:
    model = onnx.load(tiny.model_file())
    onnx.save(
        model,
        tiny.model_file(),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=60,  # the axes must lie inside
    )
    with ThreadPoolExecutor(1) as threads:
        runtime = LocalRuntime(CPU, threads)
        first = runtime.open_session(tiny.model_file())
        assert runtime.open_session(tiny.model_file()) is not first


def test_bound_inputs_and_outputs_give_the_same(tiny: TinyModels) -> None:
    batch = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE, 3), np.uint8)
    plain = OrtSession(tiny.model_file(), CPU)
    bound = OrtSession(tiny.model_file(), CPU, bind_to="cpu")
    for count in (1, 3, 2):  # shapes change from run to run
        inputs = {"image": batch[:count]}
        (expected,) = plain.run(inputs, ["features"])
        (made,) = bound.run({"image": batch[::-1][::-1][:count]}, ["features"])
        np.testing.assert_allclose(made, expected, atol=1e-6)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there may be a GPU"
)
@pytest.mark.parametrize("options", [OrtOptions(require_gpu=True), OrtOptions(device="cuda")])
def test_without_a_gpu_what_needs_one_is_refused(tiny: TinyModels, options: OrtOptions) -> None:
    with pytest.raises(EncoderNotReadyError, match="must run on a GPU"):
        OrtSession(tiny.model_file(), options)


def test_memory_returns_after_a_large_run(tmp_path: Path) -> None:
    session = OrtSession(_hungry_model(tmp_path), CPU)
    small, large = np.ones((1, 64), np.float32), np.ones((20_000, 64), np.float32)
    session.run({"x": small}, ["y"])
    before = _resident_bytes()
    for _ in range(3):
        session.run({"x": large}, ["y"])
        for _ in range(30):
            session.run({"x": small}, ["y"])
    assert _resident_bytes() - before < 60 << 20  # one large run takes 2 x 80 MB


def _hungry_model(folder: Path) -> Path:
    """Write a model that needs 16 times its input for what lies in between."""
    widen = helper.make_tensor("widen", TensorProto.FLOAT, [64, 1024], [0.5] * 65536)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "widen"], ["wide"]),
            helper.make_node("Softmax", ["wide"], ["soft"]),
            helper.make_node("ReduceMax", ["soft", "axes"], ["y"], keepdims=0),
        ],
        "hungry",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [widen, helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "hungry.onnx")
    return folder / "hungry.onnx"


def _resident_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = [each for each in status if each.startswith("VmRSS")]
    return int(line.split()[1]) << 10
