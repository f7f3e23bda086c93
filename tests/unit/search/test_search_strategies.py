"""How examples become points, are compared, and their answers one list; no store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_search.closeness import closeness
from lookalike_search.commands.merging import Answer, FusionMerger, Merged, Merger
from lookalike_search.commands.strategies import BestScore, Turns
from lookalike_search.fusion import Fusion, Hit
from lookalike_search.interests import Bundle, bundle, point_of, sort_into_interests
from lookalike_search.model import Bits, EntityRecord, Metric, Neighbor, Vector, VectorFieldSpec
from lookalike_search.voting import Classification, count_votes

FIELD = VectorFieldSpec(name="vector", dimensions=2, metric=Metric.COSINE)
SCORES = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.8])
"""Few, so that many are equal."""


def neighbor(key: int, score: float) -> Neighbor:
    return Neighbor(EntityRecord(id=f"e{key:02d}"), score, 1 - score)


def answer(scores: Sequence[float], limit: int) -> Answer:
    """Return the window over all entities that have these scores."""
    everything = [neighbor(key, score) for key, score in enumerate(scores)]
    everything.sort(key=lambda each: (-each.score, each.record.id))
    window = everything[:limit]
    return Answer(
        neighbors=window, last=window[-1].score if window else 0, exhausted=len(window) < limit
    )


def ids(merged: Merged) -> list[str]:
    return [each.record.id for each in merged.hits]


@pytest.mark.parametrize("merger", [BestScore(FIELD, (), ()), Turns()], ids=["best", "turns"])
@settings(deadline=None)
@given(
    scores=st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=12),
    limit=st.integers(1, 13),
)
def test_what_is_settled_does_not_change_in_a_wider_window(
    merger: Merger, scores: list[tuple[float, float, float]], limit: int
) -> None:
    columns = list(zip(*scores, strict=True))
    narrow = merger.merge([answer(each, limit) for each in columns])
    whole = merger.merge([answer(each, 100) for each in columns])
    assert whole.settled == len(whole.hits) == len(scores)
    assert ids(narrow)[: narrow.settled] == ids(whole)[: narrow.settled]
    if limit > len(scores):
        assert narrow == whole


def test_best_score_is_the_best_of_all_answers() -> None:
    merged = BestScore(FIELD, (), ()).merge([answer([0.9, 0.2], 5), answer([0.1, 0.5], 5)])
    assert [(each.record.id, each.score) for each in merged.hits] == [("e00", 0.9), ("e01", 0.5)]
    assert [(each.query, each.rank) for each in merged.hits[1].contributions] == [(0, 2), (1, 1)]


def test_equals_of_the_last_neighbour_are_not_settled() -> None:
    only = FusionMerger([1.0], Fusion.RRF)
    assert only.merge([answer([0.9, 0.5, 0.5], 2)]).settled == 1
    assert Turns().merge([answer([0.9, 0.5, 0.5], 2)]).settled == 1
    assert BestScore(FIELD, (), ()).merge([answer([0.9, 0.5, 0.5], 2)]).settled == 1


def test_interests_are_the_clusters_that_are_there_whatever_their_order() -> None:
    centers = np.array([[0, 0], [10, 0], [0, 10]])
    noise = np.random.default_rng(1).normal(size=(12, 2))
    points = centers[[0, 1, 2, 0, 1, 0, 0, 2, 0, 1, 0, 1]] + noise / 5
    found = sort_into_interests(Bundle(points, np.ones(12)), 3)
    assert [len(each.points) for each in found] == [6, 4, 2]
    for each, center in zip(found, centers, strict=True):
        assert np.linalg.norm(each.mean() - center) < 1
    again = sort_into_interests(Bundle(points[::-1], np.ones(12)), 3)
    assert np.allclose([each.mean() for each in again], [each.mean() for each in found])


def test_there_are_no_more_interests_than_different_examples() -> None:
    same = Bundle(np.ones((5, 2)), np.ones(5))
    assert [len(each.points) for each in sort_into_interests(same, 4)] == [5]
    one = Bundle(np.ones((1, 2)), np.ones(1))
    assert len(sort_into_interests(one, None)) == 1
    many = Bundle(np.random.default_rng(2).normal(size=(50, 3)), np.ones(50))
    assert len(sort_into_interests(many, None)) == 5


def test_a_point_is_near_the_good_and_away_from_the_bad() -> None:
    good = bundle([np.array([4, 0], np.float32)], [1], Metric.COSINE)
    bad = bundle([np.array([0, 2], np.float32)], [1], Metric.COSINE)
    assert point_of(good, bad).tolist() == [2, -1]
    raw = bundle([np.array([4, 0], np.float32)], [1], Metric.EUCLIDEAN)
    assert point_of(raw, None).tolist() == [4, 0]


def _bits(*set_bits: int) -> Bits:
    packed = np.packbits([each in set_bits for each in range(10)], bitorder="little")
    return Bits(packed.tobytes(), 10)


@pytest.mark.parametrize(
    ("metric", "left", "right", "score"),
    [
        (Metric.COSINE, [3, 4], [6, 8], 1.0),
        (Metric.COSINE, [1, 0], [0, 5], 0.0),
        (Metric.INNER_PRODUCT, [1, 2], [3, 4], 11.0),
        (Metric.EUCLIDEAN, [0, 0], [3, 4], 1 / 6),
        (Metric.TANIMOTO, (1, 2, 9), (2, 9, 4, 5), 2 / 5),
        (Metric.HAMMING, (1, 2, 9), (2, 9, 4, 5), 0.7),
    ],
)
def test_closeness(metric: Metric, left: Sequence[int], right: Sequence[int], score: float) -> None:
    def vector(numbers: Sequence[int]) -> Vector:
        return _bits(*numbers) if isinstance(numbers, tuple) else np.array(numbers, np.float32)

    scores = closeness(metric, [vector(left), vector(left)], [vector(right)])
    assert scores.shape == (2, 1)
    assert scores[0, 0] == pytest.approx(score)


def _voter(key: int, score: float, label: str | int) -> Hit:
    record = EntityRecord(id=f"e{key}", attributes={"kind": label})
    return Hit(record=record, score=score, distance=None)


def test_votes() -> None:
    voters = [_voter(0, 0.8, "b"), _voter(1, 0.5, "a"), _voter(2, 0.3, "a"), _voter(3, 0.4, 1)]
    candidates = count_votes(voters, "kind")
    assert [(each.label, each.count) for each in candidates] == [("b", 1), ("a", 2), (1, 1)]
    assert [each.confidence for each in candidates] == pytest.approx([0.4, 0.4, 0.2])
    said = Classification(candidates=candidates)
    assert (said.confidence, said.margin) == pytest.approx((0.4, 0.0))
    assert count_votes([], "kind") == ()
    assert (Classification().confidence, Classification().margin) == (0, 0)
