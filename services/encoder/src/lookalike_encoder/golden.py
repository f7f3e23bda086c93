"""Golden vectors: what an independent implementation makes of the same content.

They are checked whenever a model is loaded. A model that makes other vectors is refused: it would
answer every search with plausible nonsense.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookalike_common.errors import EncoderNotReadyError, LookalikeError
from lookalike_encoder.content import ImageContent, Item, TextContent, Vectors
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.manifest import Manifest, ManifestError

MIN_COSINE = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class GoldenCase:
    """One content and the vector it must give."""

    name: str
    item: Item
    vector: Vectors
    """float32 [dimensions]."""


def load_golden(manifest: Manifest) -> list[GoldenCase]:
    """Read the golden vectors beside a manifest; raises ManifestError."""
    path = manifest.folder / manifest.golden
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cases = [_read_case(manifest, case) for case in content["cases"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} cannot be read: {error!r}") from error
    if not cases:
        raise ManifestError(f"{path} has no cases")
    for case in cases:
        if case.vector.shape != (manifest.dimensions,):
            raise ManifestError(
                f"{path}: {case.name} has {len(case.vector)} dimensions, not {manifest.dimensions}"
            )
    return cases


def check_golden(encoder: Encoder) -> None:
    """Encode every golden case by the real path; raises EncoderNotReadyError if one differs."""
    for case in load_golden(encoder.manifest):
        cosine = _cosine(_encode(encoder, case), case.vector)
        if not cosine >= MIN_COSINE:
            raise EncoderNotReadyError(
                f"encoders/{encoder.manifest.versioned_name} is refused: its vector for the golden "
                f"case {case.name!r} has cosine {cosine:.5f} to the right one; at least "
                f"{MIN_COSINE} is needed"
            )


def _read_case(manifest: Manifest, case: dict[str, Any]) -> GoldenCase:  # of the JSON file
    vector = np.frombuffer(base64.b64decode(case["vector"]), "<f4").astype(np.float32)
    if "text" in case:
        return GoldenCase(case["name"], Item(TextContent(case["text"])), vector)
    image = (manifest.folder / case["image"]).read_bytes()
    return GoldenCase(case["name"], Item(ImageContent(image)), vector)


def _encode(encoder: Encoder, case: GoldenCase) -> Vectors:
    (prepared,) = encoder.prepare([case.item])
    if isinstance(prepared, LookalikeError):
        raise EncoderNotReadyError(
            f"encoders/{encoder.manifest.versioned_name} is refused: the golden case "
            f"{case.name!r} cannot be read: {prepared}"
        )
    vector: Vectors = encoder.encode(prepared.rows)[0]
    return vector


def _cosine(left: Vectors, right: Vectors) -> float:
    a, b = left.astype(np.float64), right.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
