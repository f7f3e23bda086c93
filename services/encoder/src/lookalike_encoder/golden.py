"""Golden vectors: what an independent implementation makes of the same content.

They are checked whenever a model is loaded. A model that makes other vectors is refused: it would
answer every search with plausible nonsense.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
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
    Operation,
    SequenceContent,
    SmilesContent,
    Task,
    TextContent,
)
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.manifest import Manifest, ManifestError, VectorKind
from lookalike_encoder.objects import Objects, overlap

MIN_COSINE = 0.999
MIN_OVERLAP = 0.9
MAX_SCORE_DIFFERENCE = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class GoldenCase:
    """One content and the vector it must give."""

    name: str
    item: Item
    vector: NDArray[Any]
    """float32 [dimensions], or bits, uint8 [dimensions / 8]; empty for objects."""
    objects: Objects | None = None
    """What a detector must find, and nothing else."""


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
        if case.objects is None and case.vector.shape != manifest.vector_shape:
            raise ManifestError(
                f"{path}: the vector of {case.name} has {case.vector.size} components, not "
                f"{manifest.vector_shape[0]}"
            )
    return cases


def check_golden(encoder: Encoder) -> None:
    """Encode every golden case by the real path; raises EncoderNotReadyError if one differs."""
    for case in load_golden(encoder.manifest):
        made = _encode(encoder, case)
        if case.objects is None:
            difference = _compare(encoder.manifest, made, case.vector)
        else:
            difference = _compare_objects(encoder.manifest, made, case.objects)
        if difference:
            raise EncoderNotReadyError(
                f"encoders/{encoder.manifest.versioned_name} is refused: what it makes of the "
                f"golden case {case.name!r} {difference}"
            )


def _read_case(manifest: Manifest, case: dict[str, Any]) -> GoldenCase:  # of the JSON file
    """Read a case: `name`, `vector` (base64, little-endian), one content, perhaps `task`.

    Of a detector: `objects` instead, as left, top, right, bottom, score, label.
    """
    if "objects" in case:
        item = Item(_read_content(manifest, case), operation=Operation.DETECT)
        objects = _read_objects(manifest, case["objects"])
        return GoldenCase(case["name"], item, np.zeros(0, np.float32), objects)
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


def _read_objects(manifest: Manifest, objects: Sequence[Sequence[Any]]) -> Objects:
    labels = manifest.detection.labels if manifest.detection else ()
    rows = [[*numbers, labels.index(label)] for *numbers, label in objects]
    return np.array(rows, np.float32).reshape(-1, 6)


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


def _compare_objects(manifest: Manifest, made: Objects, right: Objects) -> str:
    """Say which object is missing or too much; one that scores near the threshold may be either."""
    threshold = manifest.detection.min_score if manifest.detection else 0.0
    sure = threshold + MAX_SCORE_DIFFERENCE
    for title, some, others in (("lacks", right, made), ("has in excess", made, right)):
        for each in some[some[:, 4] >= sure]:
            if not _is_among(each, others):
                return f"{title} the object {each.round(3).tolist()}"
    return ""


def _is_among(wanted: NDArray[np.float32], objects: Objects) -> bool:
    close = np.abs(objects[:, 4] - wanted[4]) <= MAX_SCORE_DIFFERENCE
    same = objects[:, 5] == wanted[5]
    return bool((close & same & (overlap(wanted[:4], objects[:, :4]) >= MIN_OVERLAP)).any())
