"""Builds EfficientNet-Lite0 as an ONNX graph around weights saved by torch.

The architecture is public (Tan and Le 2019, in the Lite variant without squeeze-and-excitation
and with ReLU6). Two details of the TensorFlow original matter: padding is SAME_UPPER, and batch
normalisation uses an epsilon of 1e-3. It is folded into the convolutions here.

The graph takes uint8 pixels, [batch, 224, 224, 3], red first, and returns `features`
[batch, 1280] before any normalisation, and ImageNet's `logits` [batch, 1000].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lookalike_encoder.install.torch_weights import Weights, read_torch_weights

SIDE = 224
_OPSET, _IR_VERSION = 17, 8
_EPSILON = 1e-3
_STEM_CHANNELS = 32
_PIXEL_MEAN, _PIXEL_SCALE = 127.0, 1 / 128.0


@dataclass(frozen=True, slots=True)
class _Stage:
    """A run of blocks of one shape; only the first one strides."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def convert_efficientnet_lite0(weights_file: bytes) -> bytes:
    """Turn the published weights into an ONNX model; the same input gives the same bytes."""
    graph = _Graph(read_torch_weights(weights_file))
    graph.add_network()
    model = helper.make_model(
        graph.finish(),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="lookalike",
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Collects nodes and constants; each method returns the name of the tensor it made."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add_network(self) -> None:
        """Add everything between `image` and the two outputs."""
        x = self._add_pixels()
        x = self._add_convolution(x, "stem", "_conv_stem", "_bn0", stride=2)
        x = self._add_blocks(x)
        x = self._add_convolution(x, "head", "_conv_head", "_bn1")
        x = self._add("GlobalAveragePool", [x], "pooled")
        self._add("Flatten", [x], "features", axis=1)
        weight = self._constant("classes.weight", self._weights["_fc.weight"])
        bias = self._constant("classes.bias", self._weights["_fc.bias"])
        self._add("Gemm", ["features", weight, bias], "logits", transB=1)

    def finish(self) -> onnx.GraphProto:
        """Return the graph with its inputs and outputs declared."""
        floats = TensorProto.FLOAT
        return helper.make_graph(
            self._nodes,
            "efficientnet_lite0",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
            [
                helper.make_tensor_value_info("features", floats, ["batch", 1280]),
                helper.make_tensor_value_info("logits", floats, ["batch", 1000]),
            ],
            self._constants,
        )

    def _add(
        self,
        kind: str,
        inputs: list[str],
        output: str,
        **attributes: Any,  # noqa: ANN401 - of every type that ONNX knows
    ) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _add_pixels(self) -> str:
        """Turn bytes, colours last, into centred floats, colours first."""
        mean = self._constant("pixel.mean", np.array(_PIXEL_MEAN, np.float32))
        scale = self._constant("pixel.scale", np.array(_PIXEL_SCALE, np.float32))
        self._constant("relu.low", np.array(0, np.float32))
        self._constant("relu.high", np.array(6, np.float32))
        x = self._add("Cast", ["image"], "pixel.float", to=TensorProto.FLOAT)
        x = self._add("Sub", [x, mean], "pixel.centred")
        x = self._add("Mul", [x, scale], "pixel.scaled")
        return self._add("Transpose", [x], "pixel.planes", perm=[0, 3, 1, 2])

    def _add_blocks(self, x: str) -> str:
        channels = _STEM_CHANNELS
        index = 0
        for stage in _STAGES:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                x = self._add_block(x, index, stage, channels, stride)
                channels = stage.channels
                index += 1
        return x

    def _add_block(self, x: str, index: int, stage: _Stage, channels: int, stride: int) -> str:
        """Add an inverted bottleneck: widen, filter each channel, narrow, and add the input."""
        name, source = f"block{index}", f"_blocks.{index}"
        entry = x
        if stage.expansion > 1:
            x = self._add_convolution(
                x, f"{name}.expand", f"{source}._expand_conv", f"{source}._bn0"
            )
        x = self._add_convolution(
            x,
            f"{name}.depthwise",
            f"{source}._depthwise_conv",
            f"{source}._bn1",
            stride=stride,
            groups=channels * stage.expansion,
        )
        x = self._add_convolution(
            x, f"{name}.project", f"{source}._project_conv", f"{source}._bn2", activate=False
        )
        if stride == 1 and channels == stage.channels:
            x = self._add("Add", [x, entry], f"{name}.sum")
        return x

    def _add_convolution(
        self,
        x: str,
        name: str,
        source: str,
        norm: str,
        *,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> str:
        weight, bias = self._fold(source, norm)
        kernel = weight.shape[2]
        padding: dict[str, str] = {"auto_pad": "SAME_UPPER"} if kernel > 1 else {}
        inputs = [
            x,
            self._constant(f"{name}.weight", weight),
            self._constant(f"{name}.bias", bias),
        ]
        x = self._add(
            "Conv",
            inputs,
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=groups,
            **padding,
        )
        if activate:
            x = self._add("Clip", [x, "relu.low", "relu.high"], f"{name}.relu")
        return x

    def _fold(self, source: str, norm: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fold a batch normalisation into the convolution before it, in double precision."""
        weight = self._weights[f"{source}.weight"].astype(np.float64)
        gamma, beta, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _EPSILON)
        folded = weight * scale[:, np.newaxis, np.newaxis, np.newaxis]
        return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)
