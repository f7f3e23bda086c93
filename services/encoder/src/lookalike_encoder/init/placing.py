"""Places a drafted encoder once it has given the vectors of its reference."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import yaml

from lookalike_encoder.catalogue import Catalogue
from lookalike_encoder.init.draft import Draft
from lookalike_encoder.install.errors import InstallError
from lookalike_encoder.install.store import ModelStore, Proof
from lookalike_encoder.manifest import Manifest, load_manifest


def place(
    draft: Draft, folder: Path, catalogue: Catalogue, store: ModelStore, prove: Proof
) -> Manifest:
    """Prove an encoder, put its files into the store and its manifest into a folder of manifests.

    Raises ManifestError, InstallError, or what the proof raises; then nothing was placed.
    """
    with tempfile.TemporaryDirectory(prefix="lookalike-init-") as temporary:
        written = Path(temporary) / "draft"
        _write(draft, written)
        manifest = load_manifest(written)
        target = folder / manifest.name
        _check_free(manifest, target, catalogue, store)
        content = {role: path.read_bytes() for role, path in draft.files.items()}
        with store.locked():
            store.place(manifest, content, prove)
        _move(written, target)
    return load_manifest(target)


def _write(draft: Draft, folder: Path) -> None:
    folder.mkdir()
    text = yaml.safe_dump(draft.manifest, sort_keys=False, allow_unicode=True)
    (folder / "manifest.yaml").write_text(text, encoding="utf-8")
    (folder / "golden.json").write_text(draft.reference.golden(), encoding="utf-8")
    for path, content in draft.reference.pictures.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)


def _check_free(manifest: Manifest, target: Path, catalogue: Catalogue, store: ModelStore) -> None:
    if target.exists():
        raise InstallError(f"{target} exists already; choose another --name, or remove it")
    names = {each.versioned_name for each in catalogue.manifests}
    if manifest.versioned_name in names or store.locate(manifest).exists():
        raise InstallError(
            f"there is an encoder {manifest.versioned_name} already; choose another --name or "
            "--version"
        )


def _move(written: Path, target: Path) -> None:
    """Copy beside the target, then rename: whoever reads the folder sees all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        copy = draft / "copy" / target.name  # one level deeper than manifests are looked for
        shutil.copytree(written, copy)
        copy.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
