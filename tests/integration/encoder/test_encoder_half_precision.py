"""The real models in half precision, as far as a processor can tell.

It computes in single precision between the nodes, so a GPU rounds more often. What is tested here
is the conversion, not a GPU's arithmetic; that is proved where the model is loaded.
"""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from skimage import data

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2_grpc
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import Item, RawImageContent, TextContent
from lookalike_encoder.encoder import Encoder, Prepared, Row
from lookalike_encoder.golden import load_golden
from lookalike_encoder.install.installer import Installer
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.precision import Precision
from lookalike_encoder.settings import DeviceSettings
from lookalike_media import PixelFormat
from tests.support.tiny_model import TinyModels, picture

NAMES = ("efficientnet-lite0", "minilm-l6-v2")
HALF = DeviceSettings(kind="cpu", precision=Precision.FP16)
TEXTS = ("a cat sleeps on the sofa", "word " * 300, "ünïcödé 東京 🐈", "!")


@pytest.fixture(scope="module")
def installed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed models with their variants, made by the real installer."""
    folder = tmp_path_factory.mktemp("half") / "models"
    store = ModelStore(folder)
    with ThreadPoolExecutor(1) as threads:
        catalogue = discover()
        loader = EncoderLoader(catalogue, store, open_local_runtime(HALF, threads))
        installer = Installer(store, prove=loader.prove, report=print, variants=lambda _: ("fp16",))
        for name in NAMES:
            manifest = catalogue.find(name)
            source = models / manifest.versioned_name
            shutil.copytree(
                source,
                store.locate(manifest),
                ignore=shutil.ignore_patterns("*.fp16.onnx"),
                copy_function=os.symlink,
            )
            assert installer.install(manifest)
    return folder


@pytest.fixture(scope="module", params=NAMES)
def half(request: pytest.FixtureRequest, installed: Path) -> Any:
    with ThreadPoolExecutor(1) as threads:
        catalogue = discover()
        runtime = open_local_runtime(HALF, threads)
        loader = EncoderLoader(catalogue, ModelStore(installed), runtime, precision=HALF.precision)
        loaded = loader.load_for_device(catalogue.find(request.param))
        assert loaded.variant == "fp16"
        yield loaded.encoder


def rows_of(encoder: Encoder, items: list[Item]) -> list[Row]:
    return [
        row for each in encoder.prepare(items) if isinstance(each, Prepared) for row in each.rows
    ]


def samples(encoder: Encoder) -> list[Item]:
    if encoder.manifest.name == "minilm-l6-v2":
        return [Item(TextContent(text)) for text in TEXTS]
    names = ("astronaut", "coffee", "cat")
    pictures: list[NDArray[np.uint8]] = [
        np.ascontiguousarray(getattr(data, name)()) for name in names
    ]
    return [
        Item(RawImageContent(each.tobytes(), each.shape[1], each.shape[0], PixelFormat.RGB8))
        for each in pictures
    ]


def test_golden_vectors_come_out_closely(half: Encoder) -> None:
    for case in load_golden(half.manifest):
        (vector,) = half.encode(rows_of(half, [case.item]))
        assert vector.dtype == np.float32
        assert vector @ case.vector > 0.9995, case.name


def test_vectors_are_those_of_single_precision(half: Encoder, loaded: dict[str, Encoder]) -> None:
    rows = rows_of(half, samples(half))
    full = loaded[half.manifest.name]
    assert full.manifest.fingerprint == half.manifest.fingerprint
    for one, other in zip(half.encode(rows), full.encode(rows), strict=True):
        assert one @ other > 0.9998


def test_vectors_are_the_same_alone_and_in_company(half: Encoder) -> None:
    """But for the rounding of half precision, which padding moves."""
    rows = rows_of(half, samples(half))
    together = np.stack(half.encode(rows))
    alone = np.concatenate([half.encode([row]) for row in rows])
    assert np.abs(together - alone).max() < 1e-3


def describe(port: int, name: str) -> encoder_pb2.Encoder:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        item = pb.EncodeItem(content=content_pb2.Content(image=picture(120)))
        reply = stub.Encode(pb.EncodeRequest(encoder=name, items=[item]), timeout=30)
        assert reply.results[0].HasField("item"), reply
        found: encoder_pb2.Encoder = stub.GetEncoder(pb.GetEncoderRequest(name=name), timeout=30)
        return found


def test_the_service_says_what_it_serves(installed: Path, serve: Callable[..., Any]) -> None:
    options = {"models_dir": installed, "encoders": ("efficientnet-lite0",)}
    with serve(device=HALF, **options) as port:
        half = describe(port, "encoders/efficientnet-lite0@1")
    full_precision = HALF.model_copy(update={"precision": Precision.FP32})
    with serve(device=full_precision, **options) as port:
        full = describe(port, "encoders/efficientnet-lite0@1")
    assert (half.variant, full.variant) == ("fp16", "")
    assert half.fingerprint == full.fingerprint


def test_the_service_says_why_it_does_not_serve_a_variant(
    tmp_path: Path, serve: Callable[..., Any]
) -> None:
    tiny = TinyModels(tmp_path)
    tiny.write(seed=1)
    path = tiny.manifests / "tiny-1" / "manifest.yaml"
    file = {"path": "half.onnx", "sha256": "1" * 64}
    variants = {"fp16": {"device": "cpu", "files": {"model": file}}}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "variants": variants}))
    with serve(encoders=("tiny",), **tiny.settings) as port:
        found = describe(port, "encoders/tiny@1")
    assert found.state == encoder_pb2.Encoder.STATE_READY
    assert not found.variant
    assert not found.HasField("error")
    assert "variant fp16 of tiny@1 is not installed" in found.variant_error.message
