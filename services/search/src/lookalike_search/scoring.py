"""What score and distance mean for each metric: score is higher for closer, distance is lower."""

from __future__ import annotations

import numpy as np

from lookalike_search.model import Metric


def score_of_distance(metric: Metric, distance: float, dimensions: int) -> float:
    """Return the score that belongs to a metric's own distance."""
    match metric:
        case Metric.COSINE | Metric.TANIMOTO:
            return 1.0 - distance
        case Metric.INNER_PRODUCT | Metric.BM25:
            return -distance
        case Metric.EUCLIDEAN:
            return 1.0 / (1.0 + distance)
        case Metric.HAMMING:
            return 1.0 - distance / dimensions


def as_replied(score: float) -> float:
    """Return a score as replies carry it: float32.

    Limits are compared with this, so that a score which a caller read is inside of its own limit.
    """
    return float(np.float32(score))
