"""What score and distance mean for each metric: score is higher for closer, distance is lower."""

from __future__ import annotations

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
