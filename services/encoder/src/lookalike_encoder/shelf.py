"""What lies on disk now: manifests and files, read afresh whenever somebody asks.

The registry knows what is in memory. The two part whenever a model is installed, replaced or
damaged while the service runs, and meet again when an encoder is loaded or reloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lookalike_common.errors import EncoderNotReadyError, NotFoundError
from lookalike_encoder.catalogue import Catalogue
from lookalike_encoder.install.errors import ModelFilesError
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.precision import Loaded, Precision
from lookalike_encoder.session import Runtime

Stamp = tuple[object, ...]
"""Changes when a manifest, its golden vectors or a file of the model is replaced."""


class Shelf:
    """Encoders that could be loaded. Its methods read files: for a worker thread."""

    def __init__(
        self,
        discover: Callable[[], Catalogue],
        store: ModelStore,
        runtime: Runtime,
        *,
        named: Sequence[str] = (),
        precision: Precision = Precision.AUTO,
    ) -> None:
        """`named` are those to serve; where it is empty, all that are installed."""
        self._discover = discover
        self._store = store
        self._runtime = runtime
        self._named = named
        self._precision = precision

    def wanted(self) -> list[Manifest]:
        """Return what the service should load by itself.

        Raises ManifestError or NotFoundError if the settings name what does not exist.
        """
        catalogue = self._discover()
        if self._named:
            return [catalogue.find(name) for name in sorted(self._named)]
        return self._installed(catalogue)

    def installed(self) -> list[Manifest]:
        """Return whatever lies there; raises ManifestError."""
        return self._installed(self._discover())

    def find(self, name: str) -> Manifest:
        """Return `encoders/{name}@{version}`; without a version, the newest that is installed.

        Raises NotFoundError, or EncoderNotReadyError if the manifests cannot be read or none of
        its files are there.
        """
        name = name.removeprefix("encoders/")
        try:
            catalogue = self._discover()
            found = Catalogue(tuple(self._installed(catalogue)), catalogue.kinds).find(name)
        except ManifestError as error:
            raise EncoderNotReadyError(str(error)) from error
        except NotFoundError:
            absent = catalogue.find(name)
            try:
                self._store.check(absent)
            except ModelFilesError as error:
                raise EncoderNotReadyError(str(error)) from error
            return absent
        return found

    def reread(self, manifest: Manifest) -> Manifest:
        """Return a manifest as it is now; raises NotFoundError, EncoderNotReadyError."""
        try:
            return self._discover().find(manifest.versioned_name)
        except ManifestError as error:
            raise EncoderNotReadyError(str(error)) from error

    def load(self, manifest: Manifest) -> Loaded:
        """Load, prove and warm up an encoder; raises EncoderNotReadyError."""
        loader = EncoderLoader(
            self._discover(), self._store, self._runtime, precision=self._precision
        )
        return loader.load_for_device(manifest)

    def stamp(self, manifest: Manifest) -> Stamp:
        """Return what tells whether an encoder is still the one that was loaded."""
        folder = self._store.locate(manifest)
        paths = [manifest.folder / "manifest.yaml", manifest.folder / manifest.golden]
        paths += [folder / each.path for each in manifest.files.values()]
        for variant in manifest.variants.values():
            paths += [folder / each.path for each in variant.files.values()]
        return tuple(map(_file_stamp, paths))

    def _installed(self, catalogue: Catalogue) -> list[Manifest]:
        return [each for each in catalogue.manifests if self._store.is_present(each)]


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Tell a file from any that replaces it; nothing where it is away or out of reach."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
