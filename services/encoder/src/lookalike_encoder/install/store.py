"""The models folder: one folder per installed model, whole or absent.

A model is written beside its place, forced to disk and then renamed, so that neither a crash nor
a second installer leaves half of one. What lies there is checked against the manifest whenever it
is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lookalike_encoder.install.errors import ModelFilesError
from lookalike_encoder.manifest import Manifest, ModelFile

Proof = Callable[[Manifest, Mapping[str, Path]], None]
"""Raises unless a model, given by its files, makes the vectors that its manifest promises."""


class ModelStore:
    """Files of models below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate(self, manifest: Manifest) -> Path:
        """Return the folder a model has, or would have."""
        return self.folder / manifest.versioned_name

    def is_present(self, manifest: Manifest) -> bool:
        """Whether anything is there; `check` says whether it is whole. Code alone always is."""
        return not manifest.files or _may_be_folder(self.locate(manifest))

    def check(self, manifest: Manifest) -> dict[str, Path]:
        """Return the model's files by role if all are there and right; raises ModelFilesError."""
        folder = self.locate(manifest)
        if manifest.files and not _may_be_folder(folder):
            raise ModelFilesError(
                f"{manifest.versioned_name} is not installed in {self.folder}; run "
                f"`lookalike-encoder models install {manifest.name}`"
            )
        return {role: _checked(folder, file) for role, file in manifest.files.items()}

    def has_variant(self, manifest: Manifest, variant: str) -> bool:
        """Whether files of a variant are there; `check_variant` says whether they are whole."""
        folder = self.locate(manifest)
        files = manifest.variants[variant].files.values()
        return any(_is_there(folder / each.path) for each in files)

    def check_variant(self, manifest: Manifest, variant: str) -> dict[str, Path]:
        """Return the files of a variant by role if all are right; raises ModelFilesError."""
        if not self.has_variant(manifest, variant):
            raise ModelFilesError(
                f"the variant {variant} of {manifest.versioned_name} is not installed; run "
                f"`lookalike-encoder models install {manifest.name} --variants {variant}`"
            )
        folder = self.locate(manifest)
        files = manifest.variants[variant].files
        return {role: _checked(folder, file) for role, file in files.items()}

    def place_variant(
        self, manifest: Manifest, variant: str, content: Mapping[str, bytes], prove: Proof
    ) -> None:
        """Put the files of a variant, by role, beside the model's own, which must be whole.

        `prove` sees the written files first; if it raises, what was there before stays.
        """
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
        folder = self.locate(manifest)
        files = manifest.variants[variant].files
        try:
            for role, file in files.items():
                _write(draft / file.path, content[role])
            made = {role: draft / file.path for role, file in files.items()}
            prove(manifest, {**self.check(manifest), **made})
            for file in files.values():
                (draft / file.path).replace(folder / file.path)
            _synchronise(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def place(self, manifest: Manifest, content: Mapping[str, bytes], prove: Proof) -> None:
        """Put a model's files, by role, in their place at once, replacing what is there.

        `prove` sees the written files first; if it raises, what was there before stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
        try:
            for role, file in manifest.files.items():
                _write(draft / file.path, content[role])
            draft.chmod(0o755)
            prove(manifest, {role: draft / file.path for role, file in manifest.files.items()})
            _synchronise(draft)
            self._swap(draft, self.locate(manifest))
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def remove(self, manifest: Manifest) -> bool:
        """Remove a model; whether there was one."""
        folder = self.locate(manifest)
        if not folder.is_dir():
            return False
        doomed = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
        folder.rename(doomed)  # gone at once, even if deleting is cut short
        _discard(doomed)
        return True

    @contextmanager
    def locked(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keep other installers out; also sweeps what a killed one left.

        `waiting` is called if there is one to wait for.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            for draft in self.folder.glob(".draft-*"):
                _discard(draft)
            yield

    def _swap(self, draft: Path, folder: Path) -> None:
        old = draft.with_name(draft.name + "-old")
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
        _synchronise(self.folder)
        if old.exists():
            _discard(old)


def _checked(folder: Path, file: ModelFile) -> Path:
    path, shown = folder / file.path, f"{folder.name}/{file.path}"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFilesError(f"{shown} cannot be read: {error.strerror}") from error
    if found != file.sha256:
        raise ModelFilesError(
            f"{shown} is damaged or another file: its SHA-256 is {found}, not {file.sha256}; "
            "install the model again"
        )
    return path


def _may_be_folder(path: Path) -> bool:
    """Whether a folder is there; where nobody lets us look, reading its files will say so."""
    try:
        return path.is_dir()
    except PermissionError:
        return True


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _discard(folder: Path) -> None:
    """Delete a folder as far as that goes, even one that could not be read."""
    with suppress(OSError):
        folder.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
