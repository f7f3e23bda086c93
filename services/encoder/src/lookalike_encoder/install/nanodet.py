"""Makes one ONNX model of NanoDet-g as TensorFlow.js ships it (Lyu 2020).

The published graph takes normalised pixels, blue first, and returns for each of three grids the
scores and, for each side of a box, weights over the distances 0 to 10 cells (a box's side lies at
their mean). Here pixels go in as bytes, red first, [batch, 416, 416, 3], and boxes in pixels come
out: `boxes` [batch, 3549, 4] as left, top, right, bottom, and `scores` [batch, 3549, 80].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lookalike_encoder.install.tfjs import read_tfjs
from lookalike_encoder.install.tfjs_onnx import OnnxGraph, translate

SIDE, STRIDES = 416, (8, 16, 32)
_LABELS, _DISTANCES = 80, 11
_INPUT = "input_1"
_SCORES = ["Identity", "Identity_1", "Identity_2"]
_SIDES = ["Identity_3", "Identity_4", "Identity_5"]
_MEAN = (103.53, 116.28, 123.675)  # blue, green, red
_DEVIATION = (57.375, 57.12, 58.395)


def convert_nanodet(graph_file: bytes, weights_file: bytes) -> bytes:
    """Turn the published files into an ONNX model; the same files give the same bytes.

    Raises TfjsError, a ValueError.
    """
    graph = OnnxGraph()
    _add_pixels(graph)
    translate(read_tfjs(graph_file, weights_file), graph)
    _add_boxes(graph)
    places = len(centres())
    floats = TensorProto.FLOAT
    return graph.finish(
        "nanodet_g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("boxes", floats, ["batch", places, 4]),
            helper.make_tensor_value_info("scores", floats, ["batch", places, _LABELS]),
        ],
    )


def centres() -> NDArray[np.float32]:
    """Return where the grids' cells lie and how large they are: [3549, 3], x, y, side in pixels."""
    grids = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: SIDE // stride, : SIDE // stride]
        middles = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * stride
        grids.append(np.insert(middles, 2, stride, axis=1))
    return np.concatenate(grids).astype(np.float32)


def _add_pixels(graph: OnnxGraph) -> None:
    """Turn bytes into what the published graph takes."""
    order = graph.constant("pixel.order", np.array([2, 1, 0], np.int64))
    mean = graph.constant("pixel.mean", np.array(_MEAN, np.float32))
    deviation = graph.constant("pixel.deviation", np.array(_DEVIATION, np.float32))
    x = graph.add("Cast", ["image"], "pixel.float", to=TensorProto.FLOAT)
    x = graph.add("Gather", [x, order], "pixel.bgr", axis=3)
    x = graph.add("Sub", [x, mean], "pixel.centred")
    x = graph.add("Div", [x, deviation], "pixel.scaled")
    graph.add("Transpose", [x], _INPUT, perm=[0, 3, 1, 2])


def _add_boxes(graph: OnnxGraph) -> None:
    """Turn weights over distances into the sides of boxes, and put the grids together."""
    graph.add("Concat", _SCORES, "scores", axis=1)
    x = graph.add("Concat", _SIDES, "box.weights", axis=1)
    shape = graph.constant("box.shape", np.array([0, -1, 4, _DISTANCES], np.int64))
    x = graph.add("Reshape", [x, shape], "box.sides")
    x = graph.add("Softmax", [x], "box.shares", axis=-1)
    distances = graph.constant("box.distances", np.arange(_DISTANCES, dtype=np.float32))
    x = graph.add("MatMul", [x, distances], "box.cells")
    cells = centres()
    outwards = cells[:, 2:] * np.array([-1, -1, 1, 1], np.float32)
    x = graph.add("Mul", [x, graph.constant("box.outwards", outwards)], "box.offsets")
    middles = graph.constant("box.middles", np.tile(cells[:, :2], 2))
    graph.add("Add", [x, middles], "boxes")
