"""A detector whose answers anybody can work out: how red, green or blue each cell of a grid is."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

NAME: Final = "tiny-detector"
DETECTOR: Final = f"encoders/{NAME}@1"
LABELS: Final = ("red", "green", "blue")
SIDE, CELL = 64, 16
PLACES = (SIDE // CELL) ** 2


def cells() -> NDArray[np.float32]:
    """Return the boxes of the cells: float32 [16, 4], left, top, right, bottom."""
    rows, columns = np.divmod(np.arange(PLACES), SIDE // CELL)
    corner = np.stack([columns, rows], axis=1) * CELL
    return np.concatenate([corner, corner + CELL], axis=1).astype(np.float32)


def detector_model(*, floats: bool = False, first: bool = False, **changed: Any) -> bytes:
    """Return the model: bytes or floats from 0 to 1, channels last or first, perhaps other boxes.

    `scores` [n, 16, 3] are the means of each colour in each cell, `boxes` [n, 16, 4] the cells.
    """
    kind = TensorProto.FLOAT if floats else TensorProto.UINT8
    shape: list[str | int | None] = ["n", 3, SIDE, SIDE] if first else ["n", SIDE, SIDE, 3]
    constants = {
        "scale": np.float32(1 if floats else 255),
        "shape": np.array([0, 3, PLACES], np.int64),
        "zero": np.float32(0),
        "cells": changed.get("boxes", cells())[np.newaxis],
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["shares"]),
        helper.make_node("Identity", ["shares"], ["planes"])
        if first
        else helper.make_node("Transpose", ["shares"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["grid"], kernel_shape=[CELL] * 2, strides=[CELL] * 2
        ),
        helper.make_node("Reshape", ["grid", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["scores"], ["most"], axes=[1, 2], keepdims=1),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["cells", "nothing"], ["boxes"]),  # for each picture
    ]
    graph = helper.make_graph(
        nodes,
        "tiny_detector",
        [helper.make_tensor_value_info("image", kind, shape)],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", PLACES, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", PLACES, 3]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def picture(*found: tuple[int, int, str], scale: int = 1) -> NDArray[np.uint8]:
    """Draw cells, by column, row and colour, on black: uint8 [64, 64, 3] times the scale."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    for column, row, label in found:
        top, left = row * CELL, column * CELL
        pixels[top : top + CELL, left : left + CELL, LABELS.index(label)] = 255
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def describe(model: bytes, **changes: Any) -> dict[str, Any]:
    """Return what the manifest says."""
    return {
        "name": NAME,
        "version": "1",
        "description": "Finds coloured cells.",
        "encoder": "detector",
        "modalities": ["image"],
        "space": f"{NAME}@1",
        "metric": "cosine",
        "license": "Apache-2.0",
        "files": {"model": {"path": "model.onnx", "sha256": hashlib.sha256(model).hexdigest()}},
        "preprocessing": {
            "recipe": 1,
            "width": SIDE,
            "height": SIDE,
            "fit": "pad",
            "fill": [0, 0, 0],
            "decoded_side": SIDE,
        },
        "pooling": "none",
        "normalisation": "none",
        "detection": {
            "labels": list(LABELS),
            "floor": 0.1,
            "min_score": 0.5,
            "max_overlap": 0.5,
        },
        "limits": {
            "max_items": 64,
            "preferred_items": 8,
            "max_bytes": 1 << 20,
            "max_pixels": 1 << 22,
        },
        "batching": {"cpu": {"max_rows": 4, "max_work": 4, "epoch_work": 16}},
        **changes,
    }


def install_tiny_detector(
    manifests: Path, models: Path, model: bytes | None = None, **changes: Any
) -> None:
    """Write the manifest into one folder and the model into another, as an installer would."""
    model = model or detector_model()
    folder = manifests / NAME
    (models / f"{NAME}@1").mkdir(parents=True)
    (models / f"{NAME}@1" / "model.onnx").write_bytes(model)
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_text(yaml.safe_dump(describe(model, **changes)))
    (folder / "golden.png").write_bytes(as_png(picture((1, 2, "red"))))
    found = [CELL, 2 * CELL, 2 * CELL, 3 * CELL, 1.0, "red"]
    case = {"name": "cell", "image": "golden.png", "objects": [found]}
    (folder / "golden.json").write_text(json.dumps({"cases": [case]}))


def link_models(models: Path, into: Path) -> Path:
    """Make a folder of links to installed models, to which more can be added."""
    into.mkdir(parents=True)
    for model in models.glob("*@*"):
        (into / model.name).symlink_to(model)
    return into
