"""A real ONNX model of a few bytes, with its manifest: a picture becomes four numbers.

Whoever knows the seed of its weights can work out every vector.
"""

from __future__ import annotations

import base64
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

SIDE: Final = 8
DIMENSIONS: Final = 4
Floats = NDArray[np.float32]


def weights(seed: int) -> Floats:
    """Return float32 [3, 4]."""
    return np.random.default_rng(seed).normal(size=(3, DIMENSIONS)).astype(np.float32)


def picture(red: int, green: int = 40, blue: int = 200) -> bytes:
    """Return a PNG of one colour."""
    buffer = BytesIO()
    Image.new("RGB", (SIDE, SIDE), (red, green, blue)).save(buffer, "PNG")
    return buffer.getvalue()


def vector_of(seed: int, red: int, green: int = 40, blue: int = 200) -> Floats:
    """Return what the model makes of such a picture, float32 [4] of length 1."""
    vector = np.array([red, green, blue], np.float32) @ weights(seed)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


class TinyModels:
    """A folder of manifests and a folder of models."""

    def __init__(self, root: Path) -> None:
        self.manifests = root / "manifests"
        self.models = root / "models"
        self.models.mkdir(parents=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of an encoder service that may serve them."""
        return {"models_dir": self.models, "manifest_dirs": (self.manifests,)}

    def model_file(self, version: str = "1") -> Path:
        """Return where the model lies."""
        return self.models / f"tiny@{version}" / "model.onnx"

    def write(self, seed: int, version: str = "1", *, golden_seed: int | None = None) -> None:
        """Install a version, or replace it; with another golden seed it makes wrong vectors."""
        content = _model(seed)
        self.manifests.mkdir(exist_ok=True)
        folder = self.manifests / f"tiny-{version}"
        folder.mkdir(exist_ok=True)
        self.model_file(version).parent.mkdir(exist_ok=True)
        self.model_file(version).write_bytes(content)
        (folder / "red.png").write_bytes(picture(250))
        right = vector_of(seed if golden_seed is None else golden_seed, 250).astype("<f4")
        case = {
            "name": "red",
            "image": "red.png",
            "vector": base64.b64encode(right.tobytes()).decode(),
        }
        (folder / "golden.json").write_text(json.dumps({"cases": [case]}))
        manifest = _manifest(version, hashlib.sha256(content).hexdigest())
        (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))


def _manifest(version: str, sha256: str) -> dict[str, Any]:
    return {
        "name": "tiny",
        "version": version,
        "description": "Colours.",
        "encoder": "image",
        "modalities": ["image"],
        "space": f"tiny@{version}",
        "dimensions": DIMENSIONS,
        "metric": "cosine",
        "license": "Apache-2.0",
        "files": {"model": {"path": "model.onnx", "sha256": sha256}},
        "preprocessing": {
            "recipe": 1,
            "width": SIDE,
            "height": SIDE,
            "fit": "stretch",
            "fill": [0, 0, 0],
            "decoded_side": SIDE,
        },
        "pooling": "none",
        "normalisation": "l2",
        "limits": {
            "max_items": 64,
            "preferred_items": 8,
            "max_bytes": 1_000_000,
            "max_pixels": 10_000,
        },
        "batching": {"cpu": {"max_rows": 4, "max_work": 4, "epoch_work": 8}},
    }


def _model(seed: int) -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["features"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", DIMENSIONS])],
        [
            numpy_helper.from_array(weights(seed), "weights"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
