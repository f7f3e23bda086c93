"""Checks vectors before anything is compared with them or stored: shape, finite, not null."""

from __future__ import annotations

from typing import Final

import numpy as np

from lookalike_common.errors import EncoderMismatchError, InvalidArgumentError
from lookalike_search.model import Metric, Vector, VectorFieldSpec

_LONGEST: Final = float(np.finfo(np.float32).max)
"""Square of the length up to which float32 can compare vectors."""


def check_vector(vector: Vector, spec: VectorFieldSpec, field: str) -> Vector:
    """Return the vector if the vector field can take it.

    Raises `EncoderMismatchError` for other dimensions and `InvalidArgumentError` for NaN,
    infinity, components beyond float32, or a zero vector under cosine, all at `field`.
    """
    if vector.ndim != 1 or vector.size != spec.dimensions:
        raise EncoderMismatchError(
            f"the vector has {vector.size} dimensions, vector field {spec.name} of the collection "
            f"has {spec.dimensions}",
            field=field,
            metadata={"expected": str(spec.dimensions), "actual": str(vector.size)},
        )
    wide = vector.astype(np.float64)
    squared = float(wide @ wide)
    if not squared <= _LONGEST:  # nor if it is NaN
        raise InvalidArgumentError(
            "a component is NaN or infinite, or the vector is too long for float32", field=field
        )
    if squared == 0.0 and spec.metric is Metric.COSINE:
        raise InvalidArgumentError("a zero vector has no direction for cosine", field=field)
    return vector
