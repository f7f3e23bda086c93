"""Checks vectors before anything is compared with them or stored: shape, finite, not null."""

from __future__ import annotations

from typing import Final

import numpy as np

from lookalike_common.errors import EncoderMismatchError, InvalidArgumentError
from lookalike_search.model import Bits, Dense, Metric, Vector, VectorFieldSpec, VectorKind

_LONGEST: Final = float(np.finfo(np.float32).max)
"""Square of the length up to which float32 can compare vectors."""


def check_vector(vector: Vector, spec: VectorFieldSpec, field: str) -> Vector:
    """Return the vector if the vector field can take it.

    Raises `EncoderMismatchError` for another kind or other dimensions, and `InvalidArgumentError`
    for NaN, infinity, components beyond float32, or a zero vector where the metric has no answer
    for it, all at `field`.
    """
    kind = VectorKind.BINARY if isinstance(vector, Bits) else VectorKind.DENSE
    if kind is not spec.kind:
        raise EncoderMismatchError(
            f"the vector is {kind}, vector field {spec.name} of the collection is {spec.kind}",
            field=field,
            metadata={"expected": spec.kind, "actual": kind},
        )
    if vector.size != spec.dimensions:
        raise EncoderMismatchError(
            f"the vector has {vector.size} dimensions, vector field {spec.name} of the collection "
            f"has {spec.dimensions}",
            field=field,
            metadata={"expected": str(spec.dimensions), "actual": str(vector.size)},
        )
    if isinstance(vector, Bits):
        _check_bits(vector, spec, field)
    else:
        _check_dense(vector, spec, field)
    return vector


def vector_bytes(vector: Vector) -> bytes:
    """Return the components as bytes: float32 little-endian, or packed bits."""
    return vector.data if isinstance(vector, Bits) else vector.astype("<f4", copy=False).tobytes()


def _check_bits(vector: Bits, spec: VectorFieldSpec, field: str) -> None:
    if spec.metric is Metric.TANIMOTO and not vector.count:
        raise InvalidArgumentError("no bit is set: Tanimoto has no answer for that", field=field)


def _check_dense(vector: Dense, spec: VectorFieldSpec, field: str) -> None:
    wide = vector.astype(np.float64)
    squared = float(wide @ wide)
    if not squared <= _LONGEST:  # nor if it is NaN
        raise InvalidArgumentError(
            "a component is NaN or infinite, or the vector is too long for float32", field=field
        )
    if squared == 0.0 and spec.metric is Metric.COSINE:
        raise InvalidArgumentError("a zero vector has no direction for cosine", field=field)
