"""From a manifest and its files to an encoder that has proved itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.catalogue import Catalogue
from lookalike_encoder.encoder import Encoder, Prepared
from lookalike_encoder.golden import check_golden, load_golden
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
        """Load given files, check the golden vectors, warm up; raises EncoderNotReadyError."""
        try:
            encoder = self._catalogue.factory(manifest)(manifest, files, self._runtime)
            check_golden(encoder)
        except (ManifestError, ValidationError, KeyError) as error:
            raise EncoderNotReadyError(
                f"encoders/{manifest.versioned_name} cannot be loaded: {error}"
            ) from error
        _warm_up(encoder)
        return encoder

    def prove(self, manifest: Manifest, files: Mapping[str, Path]) -> None:
        """Raise unless given files make the right vectors."""
        self.open(manifest, files)


def _warm_up(encoder: Encoder) -> None:
    """Run full batches, so that the first callers do not wait for what is allocated once."""
    budget = encoder.manifest.budget(encoder.device)
    for case in load_golden(encoder.manifest):
        for prepared in encoder.prepare([case.item]):
            if isinstance(prepared, Prepared):
                row = prepared.rows[0]
                count = max(1, min(budget.max_rows, budget.max_work // row.length))
                encoder.encode([row] * count)
