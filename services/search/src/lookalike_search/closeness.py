"""Compares vectors here rather than in the store, by the same metrics and in the same scores.

For decisions between examples, which the store cannot be asked about. All is computed in float64
by one formula, so that equal vectors have equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from lookalike_search.model import Bits, Dense, Metric, Vector

Scores: TypeAlias = NDArray[np.float64]
"""float64 [vectors, examples]."""


def closeness(metric: Metric, vectors: Sequence[Vector], examples: Sequence[Vector]) -> Scores:
    """Return each vector's score to each example; all are of one kind and size."""
    rows, columns = _matrix(vectors), _matrix(examples)
    match metric:
        case Metric.COSINE:
            return _directions(rows) @ _directions(columns).T
        case Metric.INNER_PRODUCT:
            return rows @ columns.T
        case Metric.EUCLIDEAN:
            return 1.0 / (1.0 + np.sqrt(_squared_distances(rows, columns)))
        case Metric.TANIMOTO:
            common = rows @ columns.T
            union = rows.sum(axis=1)[:, None] + columns.sum(axis=1) - common
            return common / np.where(union == 0.0, 1.0, union)
        case Metric.HAMMING:
            return 1.0 - _squared_distances(rows, columns) / examples[0].size
        case Metric.BM25:
            raise ValueError("BM25 compares texts")


def _matrix(vectors: Sequence[Vector]) -> Scores:
    """Return vectors as float64 [vectors, dimensions]; bits are 0 and 1."""
    if isinstance(vectors[0], Bits):
        return np.stack([_unpacked(cast(Bits, each)) for each in vectors]).astype(np.float64)
    return np.stack([cast(Dense, each) for each in vectors]).astype(np.float64)


def _unpacked(bits: Bits) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(bits.data, np.uint8), count=bits.size, bitorder="little")


def _directions(rows: Scores) -> Scores:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0.0, 1.0, lengths)


def _squared_distances(rows: Scores, columns: Scores) -> Scores:
    squares = (rows**2).sum(axis=1)[:, None] + (columns**2).sum(axis=1)
    return cast(Scores, np.maximum(squares - 2 * rows @ columns.T, 0.0))
