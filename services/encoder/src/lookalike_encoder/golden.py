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
from numpy.typing import NDArray

from lookalike_common.errors import EncoderNotReadyError, LookalikeError
from lookalike_encoder.content import (
    AudioContent,
    Content,
    ImageContent,
    Item,
    SequenceContent,
    SmilesContent,
    Task,
    TextContent,
)
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.manifest import Manifest, ManifestError, VectorKind

MIN_COSINE = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class GoldenCase:
    """One content and the vector it must give."""

    name: str
    item: Item
    vector: NDArray[Any]
    """float32 [dimensions], or bits, uint8 [dimensions / 8]."""


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
        if case.vector.shape != manifest.vector_shape:
            raise ManifestError(
                f"{path}: the vector of {case.name} has {case.vector.size} components, not "
                f"{manifest.vector_shape[0]}"
            )
    return cases


def check_golden(encoder: Encoder) -> None:
    """Encode every golden case by the real path; raises EncoderNotReadyError if one differs."""
    for case in load_golden(encoder.manifest):
        if difference := _compare(encoder.manifest, _encode(encoder, case), case.vector):
            raise EncoderNotReadyError(
                f"encoders/{encoder.manifest.versioned_name} is refused: its vector for the golden "
                f"case {case.name!r} {difference}"
            )


def _read_case(manifest: Manifest, case: dict[str, Any]) -> GoldenCase:  # of the JSON file
    """Read a case: `name`, `vector` (base64, little-endian), one content, perhaps `task`."""
    stored = "<u1" if manifest.vector_kind is VectorKind.BINARY else "<f4"
    vector = np.frombuffer(base64.b64decode(case["vector"]), stored)
    item = Item(_read_content(manifest, case), task=Task(case.get("task", "document")))
    return GoldenCase(case["name"], item, vector.astype(manifest.vector_dtype))


def _read_content(manifest: Manifest, case: dict[str, Any]) -> Content:  # of the JSON file
    if "text" in case:
        return TextContent(case["text"])
    if "smiles" in case:
        return SmilesContent(case["smiles"])
    if "sequence" in case:
        return SequenceContent(case["sequence"])
    if "audio" in case:
        return AudioContent((manifest.folder / case["audio"]).read_bytes())
    return ImageContent((manifest.folder / case["image"]).read_bytes())


def _encode(encoder: Encoder, case: GoldenCase) -> NDArray[Any]:
    (prepared,) = encoder.prepare([case.item])
    if isinstance(prepared, LookalikeError):
        raise EncoderNotReadyError(
            f"encoders/{encoder.manifest.versioned_name} is refused: the golden case "
            f"{case.name!r} cannot be read: {prepared}"
        )
    return encoder.encode(prepared.rows)[0]


def _compare(manifest: Manifest, made: NDArray[Any], right: NDArray[Any]) -> str:
    """Say how two vectors differ, or nothing if they are the same: bits exactly, numbers nearly."""
    if made.shape != right.shape:
        return f"has the shape {made.shape}, not {right.shape}"
    if manifest.vector_kind is VectorKind.BINARY:
        wrong = int(np.unpackbits(made ^ right).sum())
        return f"has {wrong} wrong bits" if wrong else ""
    cosine = _cosine(made, right)
    if cosine >= MIN_COSINE:
        return ""
    return f"has cosine {cosine:.5f} to the right one; at least {MIN_COSINE} is needed"


def _cosine(left: NDArray[Any], right: NDArray[Any]) -> float:
    a, b = left.astype(np.float64), right.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
