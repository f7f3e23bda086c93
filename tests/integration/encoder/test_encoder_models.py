"""The real models: right vectors, the same alone and in company, and refused when they are not."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from skimage import data

import lookalike_encoder
from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.adapters.ort_session import OrtOptions, OrtSession
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import Item, RawImageContent, TextContent
from lookalike_encoder.encoder import Encoder, Prepared, Row
from lookalike_encoder.golden import load_golden
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.settings import DeviceSettings
from lookalike_media import PixelFormat

MANIFESTS = Path(lookalike_encoder.__file__).parent / "models"
LoaderOf = Callable[..., EncoderLoader]

TEXTS = [
    "a cat sleeps on the sofa",
    "a kitten naps on a couch",
    "the stock market fell sharply today",
    "ünïcödé 東京 🐈",
    "word " * 400,
    "!",
]


def prepare(encoder: Encoder, items: Sequence[Item]) -> list[Row]:
    prepared = encoder.prepare(items)
    assert all(isinstance(each, Prepared) for each in prepared)
    return [row for each in prepared if isinstance(each, Prepared) for row in each.rows]


def photo(name: str) -> Item:
    pixels: NDArray[np.uint8] = np.ascontiguousarray(getattr(data, name)())
    height, width = pixels.shape[:2]
    return Item(RawImageContent(pixels.tobytes(), width, height, PixelFormat.RGB8))


@pytest.mark.parametrize("name", ["efficientnet-lite0", "minilm-l6-v2"])
def test_golden_vectors_come_out_closely(loaded: dict[str, Encoder], name: str) -> None:
    encoder = loaded[name]
    for case in load_golden(encoder.manifest):
        (vector,) = encoder.encode(prepare(encoder, [case.item]))
        assert vector @ case.vector > 0.9995, case.name


def test_texts_get_the_same_vectors_alone_and_in_company(loaded: dict[str, Encoder]) -> None:
    encoder = loaded["minilm-l6-v2"]
    rows = prepare(encoder, [Item(TextContent(text)) for text in TEXTS])
    together = np.stack(encoder.encode(rows))
    alone = np.concatenate([encoder.encode([row]) for row in rows])
    assert together.shape == (len(TEXTS), 384)
    assert np.abs(together - alone).max() < 1e-5


def test_pictures_get_the_same_vectors_alone_and_in_company(loaded: dict[str, Encoder]) -> None:
    encoder = loaded["efficientnet-lite0"]
    rows = prepare(encoder, [photo(name) for name in ("astronaut", "coffee", "chelsea")])
    together = np.stack(encoder.encode(rows))
    alone = np.concatenate([encoder.encode([row]) for row in rows])
    assert together.shape == (3, 1280)
    assert np.abs(together - alone).max() < 1e-5


def test_what_means_the_same_lies_close(loaded: dict[str, Encoder]) -> None:
    encoder = loaded["minilm-l6-v2"]
    cat, kitten, market = encoder.encode(
        prepare(encoder, [Item(TextContent(text)) for text in TEXTS[:3]])
    )
    assert cat @ kitten > 0.6 > cat @ market + 0.3


def changed_manifest(folder: Path, name: str, **changes: Any) -> Path:
    """Copy a manifest with its golden vectors under another name, changed."""
    shutil.copytree(MANIFESTS / name, folder / "changed")
    path = folder / "changed" / "manifest.yaml"
    content = {**yaml.safe_load(path.read_text()), "name": "changed", "space": "changed@1"}
    path.write_text(yaml.safe_dump({**content, **changes}))
    return folder


def load_changed(loader_of: LoaderOf, models: Path, manifests: Path) -> Encoder:
    return loader_of(models, manifests).load(discover([manifests]).find("changed"))


def test_a_tampered_model_is_refused_although_its_hash_fits(
    models: Path, loader_of: LoaderOf, tmp_path: Path
) -> None:
    content = bytearray((models / "efficientnet-lite0@1" / "model.onnx").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40_000] = bytes(40_000)
    (tmp_path / "models" / "changed@1").mkdir(parents=True)
    (tmp_path / "models" / "changed@1" / "model.onnx").write_bytes(content)
    file = {"path": "model.onnx", "sha256": hashlib.sha256(content).hexdigest()}
    manifests = changed_manifest(
        tmp_path / "manifests", "efficientnet-lite0", files={"model": file}
    )
    with pytest.raises(EncoderNotReadyError, match=r"refused.*cosine"):
        load_changed(loader_of, tmp_path / "models", manifests)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (
            "efficientnet-lite0",
            {
                "preprocessing": {
                    "recipe": 1,
                    "width": 224,
                    "height": 224,
                    "fit": "stretch",
                    "fill": [255, 255, 255],
                    "decoded_side": 448,
                }
            },
        ),
        (
            "minilm-l6-v2",
            {
                "preprocessing": {
                    "recipe": 1,
                    "max_tokens": 128,
                    "query_prefix": "",
                    "document_prefix": "passage: ",
                }
            },
        ),
    ],
)
def test_other_preprocessing_is_refused(
    models: Path, loader_of: LoaderOf, tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "changed@1").symlink_to(models / f"{name}@1")
    manifests = changed_manifest(tmp_path / "manifests", name, **changes)
    with pytest.raises(EncoderNotReadyError, match=r"refused.*cosine"):
        load_changed(loader_of, tmp_path / "models", manifests)


def test_a_half_written_model_is_refused(models: Path, loader_of: LoaderOf, tmp_path: Path) -> None:
    shutil.copytree(models / "efficientnet-lite0@1", tmp_path / "efficientnet-lite0@1")
    file = tmp_path / "efficientnet-lite0@1" / "model.onnx"
    file.write_bytes(file.read_bytes()[:1_000_000])
    with pytest.raises(EncoderNotReadyError, match="damaged or another file"):
        loader_of(tmp_path).load(discover().find("efficientnet-lite0"))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(EncoderNotReadyError, match="cannot load"):
        OrtSession(path, OrtOptions(device="cpu"))


@pytest.mark.parametrize("device", [DeviceSettings(require_gpu=True), DeviceSettings(kind="cuda")])
def test_a_required_gpu_that_is_not_there_closes_the_door(
    models: Path, device: DeviceSettings
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime may use a GPU")
    with ThreadPoolExecutor(1) as threads:
        runtime = open_local_runtime(device, threads)
        with pytest.raises(EncoderNotReadyError, match="must run on a GPU"):
            runtime.open_session(models / "minilm-l6-v2@1" / "model.onnx")
