"""From a manifest and its files to an encoder that has proved itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.catalogue import Catalogue
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.golden import check_golden
from lookalike_encoder.install.errors import ModelFilesError
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.session import Runtime


class EncoderLoader:
    """Opens encoders. Slow: for a worker thread."""

    def __init__(self, catalogue: Catalogue, store: ModelStore, runtime: Runtime) -> None:
        self._catalogue = catalogue
        self._store = store
        self._runtime = runtime

    def load(self, manifest: Manifest) -> Encoder:
        """Check the files, load them, check the golden vectors.

        Raises EncoderNotReadyError saying what is missing or wrong.
        """
        try:
            files = self._store.check(manifest)
        except ModelFilesError as error:
            raise EncoderNotReadyError(str(error)) from error
        return self.open(manifest, files)

    def open(self, manifest: Manifest, files: Mapping[str, Path]) -> Encoder:
        """Load given files and check the golden vectors; raises EncoderNotReadyError."""
        try:
            encoder = self._catalogue.factory(manifest)(manifest, files, self._runtime)
            check_golden(encoder)
        except (ManifestError, ValidationError, KeyError) as error:
            raise EncoderNotReadyError(
                f"encoders/{manifest.versioned_name} cannot be loaded: {error}"
            ) from error
        return encoder

    def prove(self, manifest: Manifest, files: Mapping[str, Path]) -> None:
        """Raise unless given files make the right vectors."""
        self.open(manifest, files)
