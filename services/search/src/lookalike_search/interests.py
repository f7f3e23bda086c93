"""Sorts examples into interests, and makes one point of several. Pure, and the same every time.

Under cosine it is directions that are compared, so examples count with length 1 there: a long
vector says nothing louder than a short one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lookalike_search.model import Dense, Metric

Points: TypeAlias = NDArray[np.float64]
"""float64 [examples, dimensions]."""
Labels: TypeAlias = NDArray[np.intp]
"""intp [examples]: the number of each one's interest."""

MAX_INTERESTS: Final = 16
_ROUNDS: Final = 50


@dataclass(frozen=True, slots=True)
class Bundle:
    """Examples with their weights, one row each."""

    points: Points
    weights: NDArray[np.float64]

    def mean(self) -> Points:
        """Return the weighted mean: float64 [dimensions]."""
        return np.average(self.points, axis=0, weights=self.weights)


def bundle(vectors: Sequence[Dense], weights: Sequence[float], metric: Metric) -> Bundle:
    """Return the examples in the form in which they are averaged."""
    points = np.stack(vectors).astype(np.float64)
    if metric is Metric.COSINE:
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        points = points / np.where(lengths == 0.0, 1.0, lengths)
    return Bundle(points, np.asarray(weights, np.float64))


def point_of(good: Bundle, bad: Bundle | None) -> Dense:
    """Return the point near the good examples and away from the bad ones: float32 [dimensions]."""
    mean = good.mean()
    return (mean if bad is None else 2 * mean - bad.mean()).astype(np.float32)


def sort_into_interests(examples: Bundle, most: int | None) -> list[Bundle]:
    """Return at most so many interests, the one with most examples first.

    k-means from starting points that lie far apart: the example nearest to the mean, then always
    the one farthest from those chosen.
    """
    count = len(examples.points)
    if most is None:
        most = min(MAX_INTERESTS, math.ceil(math.sqrt(count / 2)))
    labels = _labels(examples, min(most, count))
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    members.sort(key=lambda each: (-len(each), int(each[0])))
    return [Bundle(examples.points[each], examples.weights[each]) for each in members]


def _labels(examples: Bundle, count: int) -> Labels:
    """Return the interest that each example belongs to."""
    points = examples.points
    centers = points[_starts(examples, count)]
    labels: Labels = np.argmin(_distances(points, centers), axis=1)
    for _ in range(_ROUNDS):
        centers = np.stack(
            [
                np.average(points[labels == each], axis=0, weights=examples.weights[labels == each])
                if (labels == each).any()
                else centers[each]
                for each in range(len(centers))
            ]
        )
        moved = np.argmin(_distances(points, centers), axis=1)
        if (moved == labels).all():
            break
        labels = moved
    return labels


def _starts(examples: Bundle, count: int) -> list[int]:
    points = examples.points
    starts = [int(np.argmin(_distances(points, examples.mean()[None])[:, 0]))]
    nearest = _distances(points, points[starts])[:, 0]
    while len(starts) < count and nearest.max() > 0.0:
        starts.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _distances(points, points[starts[-1:]])[:, 0])
    return starts


def _distances(points: Points, centers: Points) -> Points:
    """Return squared distances: float64 [points, centers]."""
    squares = (points**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1)
    distances: Points = np.maximum(squares - 2 * points @ centers.T, 0.0)
    return distances
