"""Recommend over gRPC on Milvus Lite, against numpy over all vectors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.search.v1 import collection_pb2
from lookalike.search.v1 import search_service_pb2 as pb
from lookalike.type.v1 import vector_pb2
from lookalike_common.errors import (
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidFilterError,
    InvalidPageTokenError,
    NotFoundError,
)
from tests.support.search_client import (
    SearchClient,
    bits,
    bits_field,
    by_entity,
    by_text,
    by_vector,
    dense,
    entity,
    failure,
    ids,
    plain_field,
)
from tests.support.toy_encoder import TEXT, ToyEncoder

Points = NDArray[np.float64]
AVERAGE = pb.RecommendRequest.STRATEGY_AVERAGE
BEST = pb.RecommendRequest.STRATEGY_BEST_SCORE
INTERESTS = pb.RecommendRequest.STRATEGY_INTERESTS


async def recommend(
    client: SearchClient, name: str, positive: Sequence[pb.Query], **options: Any
) -> pb.SearchResponse:
    options.setdefault("consistency", pb.CONSISTENCY_STRONG)
    request = pb.RecommendRequest(collection=name, positive=positive, **options)
    reply: pb.SearchResponse = await client.searches.Recommend(request)
    return reply


def directions(count: int, seed: int) -> Points:
    found = np.random.default_rng(seed).normal(size=(count, 4))
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / lengths)


async def scattered(
    client: SearchClient,
    points: Points,
    metric: vector_pb2.Metric.ValueType = vector_pb2.METRIC_COSINE,
) -> str:
    """Create a collection of points; three of them make an item."""
    name = await client.create(plain_field(dimensions=4, metric=metric))
    await client.upsert(
        name,
        *(
            entity(name, f"e{i:03d}", *point, item=f"item{i // 3}", attributes={"third": i % 3})
            for i, point in enumerate(points)
        ),
    )
    return name


def by_number(name: str, *numbers: int, **fields: Any) -> list[pb.Query]:
    return [by_entity(name, f"e{i:03d}", **fields) for i in numbers]


def ranked(scores: Points, *left_out: int) -> list[str]:
    """Return ids by falling score and then by id."""
    order = sorted(range(len(scores)), key=lambda i: (-round(float(scores[i]), 6), i))
    return [f"e{i:03d}" for i in order if i not in left_out]


async def test_average_is_near_the_good_and_away_from_the_bad(client: SearchClient) -> None:
    points = directions(150, seed=1)
    name = await scattered(client, points)
    reply = await recommend(
        client,
        name,
        by_number(name, 3, 4),
        negative=by_number(name, 5),
        top_k=30,
        include_examples=True,
    )
    target = 2 * (points[3] + points[4]) / 2 - points[5]
    target /= np.linalg.norm(target)
    assert ids(reply.hits) == ranked(points @ target)[:30]
    assert np.allclose(
        [each.score for each in reply.hits], sorted(points @ target)[:-31:-1], atol=1e-5
    )
    assert [each.rank for each in reply.hits] == list(range(1, 31))


async def test_weights_count_in_the_mean(client: SearchClient) -> None:
    points = directions(100, seed=2)
    name = await scattered(client, points)
    queries = [*by_number(name, 3, weight=4), *by_number(name, 4)]
    reply = await recommend(client, name, queries, top_k=20)
    target = 4 * points[3] + points[4]
    assert ids(reply.hits) == ranked(points @ target, 3, 4)[:20]


async def test_long_vectors_count_like_short_ones_under_cosine(client: SearchClient) -> None:
    points = directions(60, seed=3)
    name = await scattered(client, points)
    long, short = by_vector(*(100 * points[7])), by_vector(*points[8], weight=2)
    reply = await recommend(client, name, [long, short], top_k=20)
    assert ids(reply.hits) == ranked(points @ (points[7] + 2 * points[8]))[:20]


@pytest.mark.parametrize(
    "metric",
    [vector_pb2.METRIC_COSINE, vector_pb2.METRIC_INNER_PRODUCT, vector_pb2.METRIC_EUCLIDEAN],
)
@pytest.mark.parametrize("bad", [(), (10, 11)], ids=["good only", "with bad ones"])
async def test_best_score_equals_brute_force_over_all_pages(
    client: SearchClient, metric: vector_pb2.Metric.ValueType, bad: tuple[int, ...]
) -> None:
    points = directions(120, seed=4) * np.random.default_rng(5).uniform(0.5, 2, (120, 1))
    name = await scattered(client, points, metric)
    good = (1, 2, 3)
    reply = await recommend(
        client,
        name,
        by_number(name, *good),
        negative=by_number(name, *bad),
        strategy=BEST,
        top_k=25,
    )
    scores = all_scores(metric, points)
    best = scores[:, good].max(axis=1)
    nearer_to_bad = [i for i in range(120) if bad and scores[i, bad].max() >= best[i]]
    expected = ranked(best, *good, *bad, *nearer_to_bad)
    found = ids(reply.hits)
    while reply.next_page_token:
        reply = await recommend(
            client,
            name,
            by_number(name, *good),
            negative=by_number(name, *bad),
            strategy=BEST,
            top_k=25,
            page_token=reply.next_page_token,
        )
        found += ids(reply.hits)
    assert found == expected
    assert not reply.truncated


def all_scores(metric: vector_pb2.Metric.ValueType, points: Points) -> Points:
    """Return every point's score to every point, as `Metric` says."""
    if metric == vector_pb2.METRIC_EUCLIDEAN:
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        return np.asarray(1 / (1 + distances))
    if metric == vector_pb2.METRIC_COSINE:
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points @ points.T)


async def test_a_good_example_that_is_also_a_bad_one_decides_nothing(client: SearchClient) -> None:
    name = await scattered(client, directions(30, seed=6))
    same = by_number(name, 3)
    reply = await recommend(client, name, same, negative=same, strategy=BEST)
    assert (ids(reply.hits), reply.abstained) == ([], True)


async def test_interests_take_turns(client: SearchClient) -> None:
    angles = np.concatenate([np.linspace(0, 0.4, 20), np.linspace(2, 2.2, 10)])
    points = np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=1)
    name = await scattered(client, points)
    examples = by_number(name, 0, 2, 4, 20, 22)
    reply = await recommend(
        client, name, examples, strategy=INTERESTS, interests=2, top_k=9, explain=True
    )
    first, second = ids(reply.hits)[::2], ids(reply.hits)[1::2]
    assert all(each < "e020" for each in first), "the interest with most examples begins"
    assert all(each >= "e020" for each in second)
    assert (len(first), len(second)) == (5, 4)
    assert [each.contributions[0].query for each in reply.hits] == [0, 1] * 4 + [0]
    scores = [each.score for each in reply.hits]
    assert scores[::2] == sorted(scores[::2], reverse=True)
    again = await recommend(
        client, name, examples, strategy=INTERESTS, interests=2, top_k=9, explain=True
    )
    assert ids(again.hits) == ids(reply.hits)


async def test_pages_of_interests_fit_together(client: SearchClient) -> None:
    name = await scattered(client, directions(200, seed=7))
    examples = by_number(name, *range(20))
    whole = await recommend(client, name, examples, strategy=INTERESTS, top_k=100)
    pages: list[str] = []
    token = ""
    for _ in range(4):
        page = await recommend(
            client, name, examples, strategy=INTERESTS, top_k=25, page_token=token
        )
        pages += ids(page.hits)
        token = page.next_page_token
    assert pages == ids(whole.hits)
    assert len(set(pages)) == 100


async def test_examples_and_what_was_seen_are_left_out(client: SearchClient) -> None:
    points = directions(90, seed=8)
    name = await scattered(client, points)
    order = ranked(points @ points[0])
    near = await recommend(client, name, by_number(name, 0), top_k=20)
    assert ids(near.hits) == order[1:21], "the example itself"
    seen = [f"{name}/entities/{each}" for each in order[1:60]]
    rest = await recommend(client, name, by_number(name, 0), exclude=seen, top_k=20)
    assert ids(rest.hits) == order[60:80]
    without = await recommend(client, name, by_number(name, 0), exclude_items=["item0"], top_k=20)
    assert (
        ids(without.hits) == [each for each in order if each not in {"e000", "e001", "e002"}][:20]
    )


async def test_filter_bounds_groups_and_output(client: SearchClient) -> None:
    points = directions(90, seed=9)
    name = await scattered(client, points)
    scores = points @ points[0]
    order = ranked(scores, 0)
    reply = await recommend(
        client,
        name,
        by_number(name, 0),
        filter="third = 1",
        min_score=0.2,
        max_score=0.9,
        top_k=90,
        output_fields=["item"],
    )
    wanted = [e for e in order if int(e[1:]) % 3 == 1 and 0.2 <= scores[int(e[1:])] <= 0.9]
    assert ids(reply.hits) == wanted
    assert reply.hits[0].entity.item
    assert not reply.hits[0].entity.HasField("attributes")
    grouped = await recommend(
        client, name, by_number(name, 0), group_by=pb.GroupBy(field="item"), top_k=5
    )
    items = list(dict.fromkeys(f"item{int(each[1:]) // 3}" for each in order))
    assert [each.key.string_value for each in grouped.groups] == items[:5]
    assert not grouped.hits
    nothing = await recommend(client, name, by_number(name, 0), min_score=0.9999)
    assert (ids(nothing.hits), nothing.abstained) == ([], True)
    assert nothing.best_score == pytest.approx(sorted(scores)[-2], abs=1e-5)


async def test_contents_are_encoded_together_and_entities_read_together(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    words = ("banana", "bandana", "cherry", "quince", "nabob")
    await client.upsert(name, *(entity(name, each, text_content=each) for each in words))
    toy_encoder.requests.clear()
    reply = await recommend(
        client, name, [by_text("ban"), by_text("nab"), by_entity(name, "nabob")], top_k=2
    )
    assert sorted(ids(reply.hits)) == ["banana", "bandana"]
    assert [len(each.items) for each in toy_encoder.requests] == [2]


async def test_what_is_refused(client: SearchClient) -> None:
    name = await scattered(client, directions(6, seed=10))
    good = by_number(name, 0)

    async def refusal(*positive: pb.Query, **options: Any) -> tuple[type[Exception], str]:
        error = await failure(recommend(client, name, positive or good, **options))
        return type(error), error.field

    invalid = InvalidArgumentError
    assert await refusal(*by_number(name, 0, 99)) == (NotFoundError, "")
    assert await refusal(*good, by_vector(1, 2)) == (EncoderMismatchError, "positive[1].vector")
    assert await refusal(negative=[by_vector(0, 0, 0, 0)]) == (invalid, "negative[0].vector")
    assert await refusal(by_text("a")) == (invalid, "positive[0].content")
    assert await refusal(pb.Query(keyword="a")) == (invalid, "positive[0].keyword")
    assert await refusal(by_vector(1, 0, 0, 0, min_score=0.5)) == (invalid, "positive[0].min_score")
    assert await refusal(by_vector(1, 0, 0, 0), by_vector(-1, 0, 0, 0)) == (invalid, "positive")
    assert await refusal(interests=3) == (invalid, "interests")
    assert await refusal(exclude=["collections/other/entities/e"]) == (invalid, "exclude[0]")
    assert await refusal(filter="third = ") == (InvalidFilterError, "filter")
    searched = await client.search(name, by_vector(1, 0, 0, 0), top_k=2)
    assert await refusal(page_token=searched.next_page_token, top_k=2) == (
        InvalidPageTokenError,
        "page_token",
    )


@pytest.mark.feature("several-vectors")
async def test_examples_are_of_one_vector_field(client: SearchClient) -> None:
    fields = [plain_field(name=each, dimensions=2) for each in ("front", "back")]
    name = await client.create(*fields)
    for number in range(4):
        written = entity(name, f"e{number}")
        for side, angle in (("front", number / 10), ("back", -number / 10)):
            written.vectors[side].CopyFrom(dense(math.cos(angle), math.sin(angle)))
        await client.upsert(name, written)
    mixed = [
        pb.Query(vector=dense(1, 0), vector_field="front"),
        pb.Query(vector=dense(1, 0), vector_field="back"),
    ]
    error = await failure(recommend(client, name, mixed))
    assert (type(error), error.field) == (InvalidArgumentError, "positive[1].vector_field")
    reply = await recommend(client, name, mixed[1:])
    assert ids(reply.hits) == ["e0", "e1", "e2", "e3"]


async def test_more_examples_than_one_request_to_milvus_carries(client: SearchClient) -> None:
    points = directions(100, seed=11)
    name = await scattered(client, points)
    good = tuple(range(70))
    reply = await recommend(client, name, by_number(name, *good), strategy=BEST, top_k=30)
    best = (points @ points[:70].T).max(axis=1)
    assert ids(reply.hits) == ranked(best, *good)
    assert not list(itertools.chain.from_iterable(each.contributions for each in reply.hits))


async def test_bits_have_no_mean_but_a_best_score(client: SearchClient) -> None:
    name = await client.create(bits_field(dimensions=64))
    rows = np.random.default_rng(12).integers(0, 256, (60, 8), np.uint8)
    for number, row in enumerate(rows):
        written = entity(name, f"e{number:03d}")
        written.vectors["vector"].CopyFrom(bits(row.tobytes()))
        await client.upsert(name, written)
    for strategy in (AVERAGE, INTERESTS):
        refused = await failure(recommend(client, name, by_number(name, 0), strategy=strategy))
        assert (type(refused), refused.field) == (InvalidArgumentError, "strategy")
    reply = await recommend(
        client, name, by_number(name, 0, 1), negative=by_number(name, 2), strategy=BEST, top_k=60
    )
    unpacked = np.unpackbits(rows, axis=1).astype(float)
    common = unpacked @ unpacked.T
    sizes = unpacked.sum(axis=1)
    scores = common / (sizes[:, None] + sizes - common)
    best = scores[:, :2].max(axis=1)
    worse = [i for i in range(60) if scores[i, 2] >= best[i]]
    assert ids(reply.hits) == ranked(best, 0, 1, 2, *worse)
    assert worse
