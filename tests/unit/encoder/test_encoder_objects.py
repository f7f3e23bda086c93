"""Which of a detector's guesses count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike_encoder.objects import (
    MAX_OBJECTS,
    Boxes,
    choose_objects,
    find_objects,
    overlap,
    suppress,
)

CORNERS = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)


def box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([left, top, right, bottom], np.float32)


def naive_overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Count the cells of a grid that both cover, and that any covers."""
    first, second = (
        {(x, y) for x in range(int(c[0]), int(c[2])) for y in range(int(c[1]), int(c[3]))}
        for c in (a, b)
    )
    return len(first & second) / len(first | second)


def naive_suppress(boxes: Boxes, labels: NDArray[np.intp], limit: float) -> list[int]:
    kept: list[int] = []
    for index in range(len(boxes)):
        rivals = [each for each in kept if labels[each] == labels[index]]
        if all(naive_overlap(boxes[index], boxes[each]) <= limit for each in rivals):
            kept.append(index)
    return kept


@given(st.lists(st.tuples(CORNERS, st.integers(0, 2)), max_size=12), st.sampled_from([0.3, 0.55]))
def test_suppression_keeps_what_a_naive_one_keeps(
    guesses: list[tuple[tuple[int, ...], int]], limit: float
) -> None:
    boxes = np.array(
        [[x, y, x + width, y + height] for (x, y, width, height), _ in guesses], np.float32
    ).reshape(-1, 4)
    labels = np.array([label for _, label in guesses], np.intp)
    assert suppress(boxes, labels, limit).tolist() == naive_suppress(boxes, labels, limit)


@given(CORNERS, CORNERS)
def test_overlap_is_shared_over_covered(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    first, second = (box(x, y, x + width, y + height) for x, y, width, height in (a, b))
    assert overlap(first, second[np.newaxis])[0] == pytest.approx(naive_overlap(first, second))


def test_objects_come_best_first_with_their_labels() -> None:
    boxes = np.stack([box(0, 0, 4, 4), box(0, 0, 4, 4.5), box(10, 10, 12, 12)])
    scores = np.array([[0.6, 0.2], [0.9, 0.1], [0.0, 0.7]], np.float32)
    found = find_objects(boxes, scores, 0.15, 0.5)
    assert found[:, 4:].astype(float).round(2).tolist() == [[0.9, 0], [0.7, 1], [0.2, 1]]
    assert found[0, :4].tolist() == [0, 0, 4, 4.5]


def test_boxes_that_are_none_are_left_out() -> None:
    boxes = np.stack([box(4, 0, 4, 4), box(0, 4, 4, 0), box(0, 0, np.nan, 4), box(0, 0, np.inf, 9)])
    assert find_objects(boxes, np.ones((4, 1), np.float32), 0.1, 0.5).shape == (0, 6)


def test_scores_that_are_no_numbers_are_no_objects() -> None:
    scores = np.array([[np.nan], [0.5]], np.float32)
    found = find_objects(np.stack([box(0, 0, 1, 1), box(5, 5, 6, 6)]), scores, 0.1, 0.5)
    assert found[:, 4].tolist() == [0.5]


def test_a_crowd_is_cut_off() -> None:
    places = np.arange(3000, dtype=np.float32) * 2
    boxes = np.stack([places, places, places + 1, places + 1], axis=1)
    found = find_objects(boxes, np.full((3000, 2), 0.5, np.float32), 0.1, 0.5)
    assert len(found) == MAX_OBJECTS


def test_callers_choose_by_score_label_and_number() -> None:
    objects = np.array(
        [[0, 0, 1, 1, 0.9, 2], [0, 0, 1, 1, 0.7, 0], [0, 0, 1, 1, 0.3, 2]], np.float32
    )
    assert choose_objects(objects, 0.7, (), 10)[:, 5].tolist() == [2, 0]
    assert choose_objects(objects, 0, {2}, 10)[:, 4].astype(float).round(1).tolist() == [0.9, 0.3]
    assert len(choose_objects(objects, 0, (), 1)) == 1
    assert len(choose_objects(objects, 1, (), 10)) == 0
