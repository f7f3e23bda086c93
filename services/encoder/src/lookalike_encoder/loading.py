"""From a manifest and its files to an encoder that has proved itself."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from lookalike_common.errors import EncoderNotReadyError, LookalikeError
from lookalike_encoder.catalogue import Catalogue
from lookalike_encoder.encoder import Encoder, Prepared
from lookalike_encoder.golden import check_golden, load_golden
from lookalike_encoder.install.errors import ModelFilesError
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.precision import Loaded, Precision, wanted_variant
from lookalike_encoder.session import Runtime

_logger = logging.getLogger(__name__)


class EncoderLoader:
    """Opens encoders. Slow: for a worker thread."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: ModelStore,
        runtime: Runtime,
        *,
        precision: Precision = Precision.AUTO,
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._runtime = runtime
        self._precision = precision

    def load(self, manifest: Manifest) -> Encoder:
        """Check the files, load them, check the golden vectors.

        Raises EncoderNotReadyError saying what is missing or wrong.
        """
        return self.load_for_device(manifest).encoder

    def load_for_device(self, manifest: Manifest) -> Loaded:
        """Load the files that suit the device; the canonical ones if those do not prove themselves.

        Raises EncoderNotReadyError saying what is missing or wrong, also of a variant that must be.
        """
        try:
            files = self._store.check(manifest)
        except ModelFilesError as error:
            raise EncoderNotReadyError(str(error)) from error
        variant = wanted_variant(manifest, self._precision, self._runtime.device)
        if not variant:
            return Loaded(self.open(manifest, files))
        try:
            return Loaded(self._open_variant(manifest, files, variant), variant)
        except EncoderNotReadyError as error:
            if self._precision is Precision.FP16:
                raise
            refusal = copy.copy(error)  # its frames would keep the refused model
        _logger.warning(
            "encoders/%s is loaded in single precision: %s", manifest.versioned_name, refusal
        )
        return Loaded(self.open(manifest, files), variant_error=refusal)

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

    def _open_variant(self, manifest: Manifest, files: Mapping[str, Path], variant: str) -> Encoder:
        try:
            replaced = self._store.check_variant(manifest, variant)
            encoder = self.open(manifest, {**files, **replaced})
        except ModelFilesError as error:
            raise EncoderNotReadyError(str(error)) from error
        except LookalikeError:
            raise
        except Exception as error:  # a device that cannot run it says so in its own way
            raise EncoderNotReadyError(
                f"encoders/{manifest.versioned_name} cannot run its variant {variant}: {error}"
            ) from error
        device = manifest.variants[variant].device
        if self._precision is Precision.AUTO and not encoder.device.startswith(device):
            raise EncoderNotReadyError(
                f"the variant {variant} of encoders/{manifest.versioned_name} is for {device} and "
                f"was loaded on {encoder.device}"
            )
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
