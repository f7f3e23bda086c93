"""Which files of a model are loaded: the canonical ones, or those of a variant for some device.

A variant, such as half precision, is faster and makes almost the same vectors. It has to prove that
by the same golden vectors wherever it is loaded; if it cannot, the canonical files serve, unless
somebody insists.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lookalike_common.errors import LookalikeError
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.manifest import Manifest


class Precision(StrEnum):
    """What models compute in."""

    AUTO = "auto"
    """What suits the device: a model's variant for it, where there is one that proves itself."""
    FP32 = "fp32"
    """The canonical files."""
    FP16 = "fp16"
    """Half precision, on any device; a model whose manifest has it is refused without it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An encoder, and which of its files it was loaded from."""

    encoder: Encoder
    variant: str = ""
    """Empty: the canonical ones."""
    variant_error: LookalikeError | None = None
    """Why it is not the variant that was wanted."""


def wanted_variant(manifest: Manifest, precision: Precision, device: str) -> str:
    """Return the name of the variant for a kind of device (`cpu`, `cuda`), or nothing."""
    if precision is Precision.FP32:
        return ""
    half = Precision.FP16.value
    variant = manifest.variants.get(half)
    if variant and (precision is Precision.FP16 or variant.device == device):
        return half
    return ""
