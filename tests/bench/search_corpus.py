"""What the search benchmark stores and asks: seeded, and shaped as embeddings are.

Independent normal components would be no corpus: in 384 of them everything is equally far from
everything, and no index finds its way. Embeddings lie near a surface of few directions and in
clusters, so these do: clusters of about fifty in 32 directions, turned into all dimensions, with a
little noise, of length one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Neighbours = NDArray[np.int64]

BUCKETS: Final = 100
"""Values of the attribute that filters look at: row i has i mod 100, so each is 1 %."""
_DIRECTIONS: Final = 32
_IN_CLUSTER: Final = 50
_SPREAD: Final = 0.6
_NOISE: Final = 0.02


@dataclass(frozen=True)
class Corpus:
    """Rows and queries, float32 [n, dimensions], of length one."""

    rows: Vectors
    queries: Vectors


def make_corpus(rows: int, dimensions: int, queries: int, *, seed: int = 1) -> Corpus:
    """Return a corpus; the same for the same numbers."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, rows // _IN_CLUSTER), _DIRECTIONS), np.float32)
    axes, _ = np.linalg.qr(rng.standard_normal((dimensions, min(_DIRECTIONS, dimensions))))

    def draw(count: int) -> Vectors:
        points = centres[rng.integers(0, len(centres), count)]
        points = points + _SPREAD * rng.standard_normal(points.shape, np.float32)
        vectors = points[:, : axes.shape[1]] @ axes.T.astype(np.float32)
        vectors += _NOISE * rng.standard_normal(vectors.shape, np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return Corpus(rows=draw(rows), queries=draw(queries))


def nearest(corpus: Corpus, count: int) -> Neighbours:
    """Return the true nearest rows of each query by cosine, int64 [queries, count]."""
    found = []
    for start in range(0, len(corpus.queries), 50):
        scores = corpus.queries[start : start + 50] @ corpus.rows.T
        best = np.argpartition(-scores, count, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found).astype(np.int64)


def recall(found: list[list[int]], truth: Neighbours, count: int) -> float:
    """Return which share of the true nearest `count` was found, over all queries."""
    hits = sum(
        len(set(some[:count]) & set(true[:count].tolist()))
        for some, true in zip(found, truth, strict=True)
    )
    return hits / (len(found) * count)
