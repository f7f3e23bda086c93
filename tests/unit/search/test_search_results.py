"""Scores, fusion, groups, output fields and plans: the pure parts of a search."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import InvalidArgumentError, InvalidPageTokenError
from lookalike_common.paging import encode_page_token
from lookalike_search.commands.plan import make_plan
from lookalike_search.fusion import Fusion, fuse, single
from lookalike_search.grouping import GroupBy, group_hits
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    CollectionSettings,
    CollectionSpec,
    Consistency,
    EntityRecord,
    Metric,
    Neighbor,
    StoredCollection,
    VectorFieldSpec,
)
from lookalike_search.output import parse_output_fields
from lookalike_search.queries import (
    MAX_WINDOW,
    Query,
    SearchOrder,
    format_consistency_token,
    parse_freshness,
)
from lookalike_search.scoring import score_of_distance

NOW = datetime(2026, 1, 31, tzinfo=UTC)
FIELDS = tuple(
    VectorFieldSpec(name=name, dimensions=2, metric=Metric.COSINE) for name in ("vector", "other")
)
SPEC = CollectionSpec(
    id="c",
    uid="u",
    create_time=NOW,
    vector_fields=FIELDS,
    attributes=(AttributeSpec(name="tags", type=AttributeType.STRING_LIST),),
)
COLLECTION = StoredCollection(
    spec=SPEC, settings=CollectionSettings(revision=0, update_time=NOW), storage="s"
)
VECTOR = np.array([1, 0], np.float32)


def neighbor(key: str, score: float, **fields: Any) -> Neighbor:
    return Neighbor(EntityRecord(id=key, **fields), score, 1 - score)


ANSWERS = st.lists(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-100, 100), max_size=8),
    min_size=1,
    max_size=4,
)


def answers_of(scores: list[dict[str, int]]) -> list[list[Neighbor]]:
    return [
        sorted(
            (neighbor(key, score / 100) for key, score in each.items()),
            key=lambda found: (-found.score, found.record.id),
        )
        for each in scores
    ]


# --- scores ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "distance", "score"),
    [
        (Metric.COSINE, 0.0, 1.0),
        (Metric.COSINE, 2.0, -1.0),
        (Metric.INNER_PRODUCT, -4.0, 4.0),
        (Metric.EUCLIDEAN, 0.0, 1.0),
        (Metric.EUCLIDEAN, 3.0, 0.25),
        (Metric.TANIMOTO, 0.25, 0.75),
        (Metric.HAMMING, 16.0, 0.75),
    ],
)
def test_scores(metric: Metric, distance: float, score: float) -> None:
    assert score_of_distance(metric, distance, 64) == score


# --- fusion ------------------------------------------------------------------------------------


@given(ANSWERS, st.sampled_from(list(Fusion)))
def test_fusion_keeps_everything_once_and_in_order(
    scores: list[dict[str, int]], fusion: Fusion
) -> None:
    answers = answers_of(scores)
    hits = fuse(answers, [1.0] * len(answers), fusion)
    assert sorted(hit.record.id for hit in hits) == sorted({key for each in scores for key in each})
    order = [(-hit.score, hit.record.id) for hit in hits]
    assert order == sorted(order)
    for hit in hits:
        assert [each.query for each in hit.contributions] == [
            index for index, each in enumerate(scores) if hit.record.id in each
        ]
        assert hit.distance is None


@given(ANSWERS)
def test_fusion_of_one_answer_keeps_its_order(scores: list[dict[str, int]]) -> None:
    answer = answers_of(scores)[0]
    ids = [each.record.id for each in answer]
    assert [hit.record.id for hit in single(answer)] == ids
    assert [hit.record.id for hit in fuse([answer], [1.0], Fusion.RRF)] == ids
    for fusion in (Fusion.WEIGHTED, Fusion.MAX):
        assert [hit.record.id for hit in fuse([answer], [0.5], fusion)] == ids


def test_reciprocal_rank_by_hand() -> None:
    first = [neighbor("a", 0.9), neighbor("b", 0.8)]
    second = [neighbor("b", 0.3), neighbor("c", 0.2)]
    hits = fuse([first, second], [1.0, 2.0], Fusion.RRF)
    assert [hit.record.id for hit in hits] == ["b", "c", "a"]
    assert math.isclose(hits[0].score, 1 / 62 + 2 / 61)
    assert math.isclose(hits[1].score, 2 / 62)


def test_weighted_and_max_by_hand() -> None:
    first = [neighbor("a", 0.9), neighbor("b", 0.6), neighbor("c", 0.3)]
    second = [neighbor("c", 5.0)]
    weighted = fuse([first, second], [1.0, 0.4], Fusion.WEIGHTED)
    assert [(hit.record.id, round(hit.score, 6)) for hit in weighted] == [
        ("a", 1.0),
        ("b", 0.5),
        ("c", 0.4),
    ]
    best = fuse([first, second], [1.0, 2.0], Fusion.MAX)
    assert [(hit.record.id, round(hit.score, 6)) for hit in best] == [
        ("c", 2.0),
        ("a", 1.0),
        ("b", 0.5),
    ]


# --- groups ------------------------------------------------------------------------------------


def test_groups_come_by_their_best_hit() -> None:
    answer = [
        neighbor("a", 0.9, item="x"),
        neighbor("b", 0.8, item="y"),
        neighbor("c", 0.7, item="x"),
        neighbor("d", 0.6, item="x"),
    ]
    groups = group_hits(single(answer), GroupBy(field="item", size=2))
    assert [(each.key, [hit.record.id for hit in each.hits]) for each in groups] == [
        ("x", ["a", "c"]),
        ("y", ["b"]),
    ]


def test_different_values_are_different_groups() -> None:
    values: list[Any] = [None, "null", True, 1, "1", 1.5, ""]
    answer = [
        neighbor(str(i), -i, attributes={} if value is None else {"a": value})
        for i, value in enumerate(values)
    ]
    groups = group_hits(single(answer), GroupBy(field="a"))
    assert [each.key for each in groups] == values


# --- output fields -----------------------------------------------------------------------------

WHOLE = EntityRecord(
    id="e",
    item="i",
    asset="a",
    text="t",
    attributes={"x": 1, "y": 2},
    vectors={"vector": VECTOR, "other": VECTOR},
    content_hash="h",
    generation=3,
    source_uri="s",
    create_time=NOW,
    update_time=NOW,
)


def test_without_fields_everything_but_vectors() -> None:
    mask = parse_output_fields([], SPEC)
    assert mask.apply(WHOLE) == replace(WHOLE, vectors={})
    assert mask.projection.vectors == frozenset()
    with_vectors = parse_output_fields([], SPEC, include_vectors=True)
    assert set(with_vectors.apply(WHOLE).vectors) == {"vector", "other"}


def test_only_what_is_named() -> None:
    mask = parse_output_fields(["text", "attributes.y", "vectors.other"], SPEC)
    shown = mask.apply(WHOLE)
    assert shown == EntityRecord(id="e", text="t", attributes={"y": 2}, vectors={"other": VECTOR})
    assert (mask.projection.system, mask.projection.text) == (False, True)
    bare = parse_output_fields(["name"], SPEC)
    assert bare.apply(WHOLE) == EntityRecord(id="e")
    assert not bare.projection.attributes


@pytest.mark.parametrize("path", ["", "id", "vectors.none", "text.x", "generation.", "sys"])
def test_unknown_fields(path: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_output_fields(["text", path], SPEC)
    assert caught.value.field == "output_fields[1]"


# --- plans -------------------------------------------------------------------------------------


def order(**changes: Any) -> SearchOrder:
    plain = SearchOrder(collection_id="c", queries=(Query(source=VECTOR),), digest=b"d")
    return replace(plain, **changes)


@given(st.integers(1, MAX_WINDOW), st.integers(0, MAX_WINDOW))
def test_pages_cover_the_window_and_end(top_k: int, total: int) -> None:
    seen, token, pages = 0, "", 0
    while True:
        plan = make_plan(order(top_k=top_k, page_token=token), COLLECTION)
        assert plan.offset == min(seen, MAX_WINDOW)
        assert plan.offset + plan.top_k <= MAX_WINDOW
        listed = min(total, plan.needed)
        seen += max(0, min(listed - plan.offset, plan.top_k))
        token = plan.next_token(listed)
        pages += 1
        if not token or pages > 20:
            break
    assert pages > 20 or seen == total


def test_the_first_page_fixes_the_effort() -> None:
    first = make_plan(order(top_k=10), COLLECTION)
    assert first.params == {"ef": 64}
    later = make_plan(order(top_k=10, page_token=first.next_token(500)), COLLECTION)
    assert (later.offset, later.params) == (10, {"ef": 64})
    assert make_plan(order(top_k=1000), COLLECTION).params == {"ef": 4096}
    assert make_plan(order(params={"ef": 7}), COLLECTION).params == {"ef": 7}


@pytest.mark.parametrize("position", [[], [1], [-1, 64], [MAX_WINDOW, 64], ["a", 64], [0, 0]])
def test_forged_tokens(position: list[str | int | float | None]) -> None:
    token = encode_page_token(position, "search", b"d")
    with pytest.raises(InvalidPageTokenError):
        make_plan(order(page_token=token), COLLECTION)


def test_lists_cannot_be_grouped_by() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make_plan(order(group_by=GroupBy(field="tags")), COLLECTION)
    assert caught.value.field == "group_by.field"


@given(st.integers(0, 2**63 - 1))
def test_consistency_tokens(position: int) -> None:
    token = format_consistency_token(position)
    assert parse_freshness(Consistency.BOUNDED, token).position == position


@pytest.mark.parametrize("token", ["v1.", "v2.0", "v1.g", "v1.0 ", "v1." + "f" * 17])
def test_bad_consistency_tokens(token: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_freshness(Consistency.BOUNDED, token)
