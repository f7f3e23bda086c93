"""Manifests are read strictly, and fingerprints change exactly with what changes vectors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from lookalike_common.errors import NotFoundError
from lookalike_encoder.catalogue import Catalogue, discover
from lookalike_encoder.golden import load_golden
from lookalike_encoder.manifest import Manifest, ManifestError, load_manifest

MakeManifest = Callable[..., Manifest]


def write_manifest(source: Path, folder: Path, **changes: Any) -> Path:
    content = yaml.safe_load((source / "manifest.yaml").read_text())
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_text(yaml.safe_dump({**content, **changes}))
    return folder


def test_ours_are_found_by_entry_points() -> None:
    catalogue = discover()
    names = [each.versioned_name for each in catalogue.manifests]
    assert names == sorted(names)
    assert {"efficientnet-lite0@1", "minilm-l6-v2@1", "morgan-2048@1", "dna-kmer6@1"} <= set(names)
    for manifest in catalogue.manifests:
        assert callable(catalogue.factory(manifest))
        assert load_golden(manifest)


def test_fingerprints_are_pinned() -> None:
    """Collections are bound to them: whoever changes one must mean to."""
    assert {each.versioned_name: each.fingerprint[:16] for each in discover().manifests} == {
        "conse@1": "31cbf67bbb79c418",
        "dna-kmer6@1": "0521d45e88e20908",
        "efficientnet-lite0@1": "2304d13d9fbbfeb5",
        "minilm-l6-v2@1": "6de7b3c2cb469508",
        "morgan-2048@1": "dbd1b626fd900e38",
        "nanodet@1": "18d8b2715d305341",
        "phash-256@1": "9942a0a61c29cdf4",
        "speech-embedding@1": "5d5eb659ad7838fa",
        "yamnet@1": "7a5eebb4081e8db4",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"model": {"path": "model.onnx", "sha256": "1" * 64}}},
        {"preprocessing": {"recipe": 2}},
        {"pooling": "mean"},
        {"normalisation": "l2"},
        {"dimensions": 9},
        {"encoder": "other"},
    ],
)
def test_what_changes_vectors_changes_the_fingerprint(
    make_manifest: MakeManifest, change: dict[str, Any]
) -> None:
    assert make_manifest(**change).fingerprint != make_manifest().fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Other words."},
        {"license": "MIT"},
        {"name": "other"},
        {"version": "2"},
        {"files": {"model": {"path": "other.onnx", "sha256": "0" * 64}}},
        {"limits": {"max_items": 5, "preferred_items": 5, "max_bytes": 5}},
    ],
)
def test_what_does_not_leaves_it(make_manifest: MakeManifest, change: dict[str, Any]) -> None:
    assert make_manifest(**change).fingerprint == make_manifest().fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"dimensions": -1}, "dimensions"),
        ({"modalities": ["smell"]}, "modalities"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"space": "unversioned"}, "version"),
        ({"batching": {}}, "cpu"),
        ({"files": {"model": {"path": "../../etc/passwd", "sha256": "0" * 64}}}, "path"),
        ({"files": {"model": {"path": "model.onnx", "sha256": "short"}}}, "sha256"),
        ({"install": {"packages": [], "steps": []}}, "no install step makes"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(
    models_folder: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    folder = write_manifest(models_folder / "minilm-l6-v2", tmp_path / "wrong", **change)
    with pytest.raises(ManifestError, match=said):
        load_manifest(folder)


@pytest.mark.parametrize("content", ["", "- a list", "{unclosed", "\xff"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(ManifestError):
        load_manifest(tmp_path)


def test_a_model_of_a_known_kind_plugs_in_by_manifest(models_folder: Path, tmp_path: Path) -> None:
    write_manifest(models_folder / "minilm-l6-v2", tmp_path / "mine", name="mine", space="mine@1")
    catalogue = discover([tmp_path])
    mine = catalogue.find("mine")
    assert mine.folder == tmp_path / "mine"
    assert catalogue.factory(mine) is catalogue.factory(catalogue.find("minilm-l6-v2"))


def test_two_manifests_of_one_encoder_are_refused(models_folder: Path, tmp_path: Path) -> None:
    write_manifest(models_folder / "minilm-l6-v2", tmp_path / "again")
    with pytest.raises(ManifestError, match="two manifests"):
        discover([tmp_path])


def test_the_newest_version_is_the_default(make_manifest: MakeManifest) -> None:
    manifests = [make_manifest(version=version) for version in ("1.9", "1.10", "beta")]
    catalogue = Catalogue(tuple(manifests), {})
    assert catalogue.find("fake").version == "1.10"
    assert catalogue.find("fake@1.9").version == "1.9"
    for missing in ("fake@2", "other"):
        with pytest.raises(NotFoundError):
            catalogue.find(missing)


def test_an_unknown_kind_is_named(make_manifest: MakeManifest) -> None:
    with pytest.raises(ManifestError, match="'fake'; known are"):
        discover().factory(make_manifest())


def test_budgets_are_by_kind_of_device(make_manifest: MakeManifest) -> None:
    cpu = {"max_rows": 1, "max_work": 1, "epoch_work": 1}
    manifest = make_manifest(batching={"cpu": cpu, "cuda": {**cpu, "max_rows": 9}})
    assert manifest.budget("cpu").max_rows == 1
    assert manifest.budget("cuda:0").max_rows == 9
    assert manifest.budget("npu").max_rows == 1


HALF: dict[str, Any] = {
    "device": "cuda",
    "files": {"model": {"path": "model.fp16.onnx", "sha256": "1" * 64}},
}


def test_variants_have_no_say_in_the_fingerprint(make_manifest: MakeManifest) -> None:
    assert make_manifest(variants={"fp16": HALF}).fingerprint == make_manifest().fingerprint


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ({"int4": HALF}, "int4"),
        ({"fp16": {**HALF, "files": {}}}, "files"),
        ({"fp16": {**HALF, "device": "abacus"}}, "device"),
        ({"fp16": {**HALF, "files": {"vocabulary": HALF["files"]["model"]}}}, "vocabulary"),
        ({"fp16": {**HALF, "files": {"model": {"path": "model.onnx", "sha256": "1" * 64}}}}, "own"),
    ],
)
def test_variants_are_read_strictly(
    make_manifest: MakeManifest, variants: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        make_manifest(variants=variants)


def test_the_bridge_has_the_variants_of_its_models() -> None:
    """Which are tested with those models."""
    catalogue = discover()

    def half(name: str, role: str) -> str:
        return catalogue.find(name).variants["fp16"].files[role].sha256

    assert half("conse", "image") == half("efficientnet-lite0", "model")
    assert half("conse", "text") == half("minilm-l6-v2", "model")
