"""Objects found in pictures: which of a model's guesses count, and where they are.

A detector guesses a box at each of some thousand places and a score for each label there; one
object is guessed by many neighbours. What remains is one box an object.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
"""float32 [n, 4]: left, top, right, bottom."""

Objects = NDArray[np.float32]
"""float32 [n, 6], best first: left, top, right, bottom, score, and the label's place."""

MAX_OBJECTS = 1000
"""Of one picture."""
_MAX_GUESSES = 4 * MAX_OBJECTS  # the best ones; what is compared grows with their number


def overlap(box: NDArray[np.float32], boxes: Boxes) -> NDArray[np.float32]:
    """Return intersection over union of one box with others: [4], [n, 4] → [n], from 0 to 1."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float32).tiny), np.float32)


def suppress(
    boxes: Boxes, labels: NDArray[np.intp], max_overlap: float, limit: int = MAX_OBJECTS
) -> NDArray[np.intp]:
    """Return the places of the boxes to keep, of boxes given best first.

    A box is dropped if it overlaps a better one that is kept and has the same label by more than
    `max_overlap`.
    """
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < limit:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        same = labels[left] == labels[best]
        left = left[~(same & (overlap(boxes[best], boxes[left]) > max_overlap))]
    return np.array(kept, np.intp)


def find_objects(
    boxes: Boxes, scores: NDArray[np.float32], floor: float, max_overlap: float
) -> Objects:
    """Turn guesses into objects: [places, 4], [places, labels] → [n, 6], best first.

    `floor` is the least score; boxes without an area and those that are no numbers are dropped.
    """
    boxes = np.where(np.isfinite(boxes).all(axis=1, keepdims=True), boxes, np.float32(0))
    real = np.logical_and.reduce(boxes[:, 2:] > boxes[:, :2], axis=1, keepdims=True)
    places, labels = np.nonzero((scores >= floor) & real)
    best = np.argsort(-scores[places, labels], kind="stable")[:_MAX_GUESSES]
    places, labels = places[best], labels[best]
    kept = suppress(boxes[places], labels, max_overlap)
    places, labels = places[kept], labels[kept]
    columns = (boxes[places], scores[places, labels], labels)
    return np.column_stack(columns).astype(np.float32)


def choose_objects(
    objects: Objects, min_score: float, labels: Collection[int], max_objects: int
) -> Objects:
    """Keep the best objects with one of some labels, or with any where none are named."""
    objects = objects[objects[:, 4] >= np.float32(min_score)]
    if labels:
        objects = objects[np.isin(objects[:, 5].astype(int), list(labels))]
    return objects[:max_objects]
