"""Binary vectors that callers bring, over gRPC: everything a search can do with dense ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import (
    collection_service_pb2,
    entity_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from lookalike.type.v1 import outcome_pb2, vector_pb2
from lookalike_common.errors import EncoderMismatchError, InvalidArgumentError, UnimplementedError
from tests.support.search_client import (
    ATTRIBUTES,
    SearchClient,
    bits,
    bits_field,
    by_entity,
    by_vector,
    dense,
    entity,
    failure,
    ids,
    outcomes,
    plain_field,
    upsert_error,
)

SIZE = 64
QUERY = bytes([0xFF, 0xFF]) + bytes(6)


def by_bits(data: bytes, dimensions: int = 0, **fields: Any) -> search_service_pb2.Query:
    return search_service_pb2.Query(vector=bits(data, dimensions), **fields)


async def find(
    client: SearchClient, collection: str, *queries: search_service_pb2.Query, **options: Any
) -> search_service_pb2.SearchResponse:
    """Search what was written just now."""
    return await client.search(
        collection, *queries, consistency=search_service_pb2.CONSISTENCY_STRONG, **options
    )


def with_bits(
    collection: str, number: int, data: bytes, dimensions: int = 0, **fields: Any
) -> entity_pb2.Entity:
    message = entity(collection, f"e{number:03d}", **fields)
    message.vectors["vector"].CopyFrom(bits(data, dimensions))
    return message


def rows(count: int) -> list[bytes]:
    rng = np.random.default_rng(4)
    chosen = rng.random((count, SIZE)) < rng.uniform(0.05, 0.6, (count, 1))
    chosen[:, 0] |= ~chosen.any(axis=1)
    return [each.tobytes() for each in np.packbits(chosen, axis=1, bitorder="little")]


def tanimoto(first: bytes, second: bytes) -> float:
    a, b = int.from_bytes(first), int.from_bytes(second)
    return (a & b).bit_count() / (a | b).bit_count()


def best(data: list[bytes], query: bytes = QUERY) -> list[str]:
    ranked = sorted((-tanimoto(query, each), number) for number, each in enumerate(data))
    return [f"e{number:03d}" for _, number in ranked]


async def filled(
    client: SearchClient,
    data: list[bytes],
    metric: vector_pb2.Metric.ValueType = vector_pb2.METRIC_TANIMOTO,
) -> str:
    """Return a collection of these bits; `price` is their number, two make an item."""
    collection = await client.create(bits_field(metric), attributes=ATTRIBUTES)
    entities = [
        with_bits(collection, i, each, item=f"item-{i // 2}", attributes={"price": i})
        for i, each in enumerate(data)
    ]
    assert set(outcomes(await client.upsert(collection, *entities))) == {
        outcome_pb2.OUTCOME_CREATED
    }
    return collection


async def test_a_field_of_bits_says_what_it_is(client: SearchClient) -> None:
    name = await client.create(bits_field(dimensions=12))
    request = collection_service_pb2.GetCollectionRequest(name=name)
    (field,) = (await client.collections.GetCollection(request)).vector_fields
    assert (field.vector_kind, field.metric, field.dimensions) == (
        vector_pb2.VECTOR_KIND_BINARY,
        vector_pb2.METRIC_TANIMOTO,
        12,
    )


async def test_pages_follow_tanimoto_and_ids(client: SearchClient) -> None:
    data = rows(200)
    collection = await filled(client, data)
    seen: list[str] = []
    scores: list[float] = []
    token = ""
    for page in itertools.count():
        reply = await find(client, collection, by_bits(QUERY), top_k=30, page_token=token)
        seen += ids(reply.hits)
        scores += [each.score for each in reply.hits]
        token = reply.next_page_token
        if not token:
            break
        assert page < 10
    assert seen == best(data)
    expected = [np.float32(tanimoto(QUERY, data[int(each[1:])])) for each in seen]
    assert scores == [float(each) for each in expected]


async def test_pages_of_equals_follow_ids(client: SearchClient) -> None:
    """Hamming has few values: most pages end between equal scores."""
    data = rows(200)
    collection = await filled(client, data, vector_pb2.METRIC_HAMMING)
    query = int.from_bytes(QUERY)
    distances = [(int.from_bytes(each) ^ query).bit_count() for each in data]
    ranking = sorted((each, number) for number, each in enumerate(distances))
    expected = [(each, f"e{number:03d}") for each, number in ranking]
    found: list[tuple[float, str]] = []
    token = ""
    while token or not found:
        reply = await find(client, collection, by_bits(QUERY), top_k=9, page_token=token)
        found += zip((each.distance for each in reply.hits), ids(reply.hits), strict=True)
        token = reply.next_page_token
    assert found == expected


async def test_filter_score_limits_and_explanation(client: SearchClient) -> None:
    data = rows(200)
    collection = await filled(client, data)
    reply = await find(
        client,
        collection,
        by_bits(QUERY, min_score=0.2, max_score=0.5),
        filter="price >= 50",
        top_k=100,
        explain=True,
    )
    expected = [
        each
        for each in best(data)
        if each >= "e050" and 0.2 <= tanimoto(QUERY, data[int(each[1:])]) <= 0.5  # .2 is among them
    ]
    assert expected
    assert ids(reply.hits) == expected
    hit = reply.hits[0]
    assert hit.distance == pytest.approx(1 - hit.score)
    assert [each.rank for each in hit.contributions] == [1]
    nothing = await find(client, collection, by_bits(bytes(7) + b"\x80", min_score=0.99))
    assert (list(nothing.hits), nothing.abstained) == ([], True)


async def test_groups_have_their_best_hit_first(client: SearchClient) -> None:
    data = rows(120)
    collection = await filled(client, data)
    reply = await find(
        client,
        collection,
        by_bits(QUERY),
        top_k=20,
        group_by=search_service_pb2.GroupBy(field="item", size=2),
    )
    order = best(data)
    items = list(dict.fromkeys(f"item-{int(each[1:]) // 2}" for each in order))[:20]
    assert [each.key.string_value for each in reply.groups] == items
    for group in reply.groups:
        number = int(group.key.string_value.removeprefix("item-"))
        pair = [f"e{2 * number:03d}", f"e{2 * number + 1:03d}"]
        assert ids(group.hits) == sorted(pair, key=order.index)


async def test_more_like_a_stored_one(client: SearchClient) -> None:
    data = rows(100)
    collection = await filled(client, data)
    reply = await find(client, collection, by_entity(collection, "e007"), top_k=20)
    others = [each for each in best(data, data[7]) if each != "e007"]
    assert ids(reply.hits) == others[:20]


@pytest.mark.feature("several-vectors")
async def test_bits_and_numbers_are_fused(client: SearchClient) -> None:
    collection = await client.create(
        bits_field(vector_pb2.METRIC_HAMMING, name="print", dimensions=8), plain_field()
    )
    for number, (data, numbers) in enumerate([(b"\x01", (1, 0, 0)), (b"\x03", (0, 1, 0))]):
        message = entity(collection, f"e{number}", *numbers)
        message.vectors["print"].CopyFrom(bits(data))
        await client.upsert(collection, message)
    reply = await find(
        client,
        collection,
        by_bits(b"\x03", vector_field="print"),
        by_vector(0, 1, 0, vector_field="vector"),
        include_vectors=True,
    )
    assert ids(reply.hits) == ["e1", "e0"]
    assert reply.hits[0].entity.vectors["print"].binary.data == b"\x03"
    assert len(reply.hits[0].entity.vectors["vector"].dense.data) == 12


async def test_hamming_counts_what_differs(client: SearchClient) -> None:
    collection = await client.create(bits_field(vector_pb2.METRIC_HAMMING, dimensions=12))
    for number, data in enumerate([b"\x00\x00", b"\x01\x00", b"\xff\x0f"]):
        await client.upsert(collection, with_bits(collection, number, data, 12))
    reply = await find(client, collection, by_bits(b"\x03\x00", 12))
    assert [(each.entity.name[-4:], each.distance) for each in reply.hits] == [
        ("e001", 1),
        ("e000", 2),
        ("e002", 10),
    ]
    assert reply.hits[0].score == pytest.approx(1 - 1 / 12)


async def test_bits_come_back_and_again_they_are_unchanged(client: SearchClient) -> None:
    collection = await client.create(bits_field(dimensions=12))
    written = with_bits(collection, 1, b"\x81\x0f", 12)
    await client.upsert(collection, written)
    assert outcomes(await client.upsert(collection, written)) == [outcome_pb2.OUTCOME_UNCHANGED]
    found = await client.get(f"{collection}/entities/e001", output_fields=["vectors"])
    assert (found.vectors["vector"].binary.data, found.vectors["vector"].binary.dimensions) == (
        b"\x81\x0f",
        12,
    )
    other = with_bits(collection, 1, b"\x81\x0e", 12)
    assert outcomes(await client.upsert(collection, other)) == [outcome_pb2.OUTCOME_UPDATED]


async def test_an_update_of_attributes_leaves_the_bits_alone(client: SearchClient) -> None:
    data = rows(30)
    collection = await filled(client, data)
    changed = entity(collection, "e004", attributes={"color": "red"})
    await client.entities.UpdateEntity(
        entity_service_pb2.UpdateEntityRequest(
            entity=changed, update_mask=FieldMask(paths=["attributes.color"])
        )
    )
    found = await client.get(changed.name, output_fields=["vectors", "attributes"])
    assert found.vectors["vector"].binary.data == data[4]
    assert found.attributes.fields["color"].string_value == "red"
    reply = await find(client, collection, by_bits(QUERY), top_k=30)
    assert ids(reply.hits) == best(data)


async def test_many_searches_at_once(client: SearchClient) -> None:
    data = rows(100)
    collection = await filled(client, data)
    strong = search_service_pb2.CONSISTENCY_STRONG
    reply = await client.searches.BatchSearch(
        search_service_pb2.BatchSearchRequest(
            collection=collection,
            requests=[
                search_service_pb2.SearchRequest(
                    collection=collection, queries=[by_bits(each)], top_k=8, consistency=strong
                )
                for each in data[:20]
            ],
        )
    )
    found = [ids(each.response.hits) for each in reply.results]
    assert found == [best(data, each)[:8] for each in data[:20]]


async def test_recommendations_have_no_mean_of_bits(client: SearchClient) -> None:
    data = rows(100)
    collection = await filled(client, data)
    request = search_service_pb2.RecommendRequest(
        collection=collection,
        positive=[by_entity(collection, "e003"), by_bits(QUERY)],
        top_k=20,
        consistency=search_service_pb2.CONSISTENCY_STRONG,
    )
    caught = await failure(client.searches.Recommend(request))
    assert (type(caught), caught.field) == (InvalidArgumentError, "strategy")
    request.strategy = search_service_pb2.RecommendRequest.STRATEGY_BEST_SCORE
    reply = await client.searches.Recommend(request)
    closest = sorted(
        (-max(tanimoto(data[3], each), tanimoto(QUERY, each)), f"e{number:03d}")
        for number, each in enumerate(data)
        if number != 3
    )
    assert ids(reply.hits) == [each for _, each in closest][:20]


async def test_neighbours_vote_about_bits(client: SearchClient) -> None:
    collection = await client.create(bits_field(dimensions=8), attributes=ATTRIBUTES)
    for number, (data, color) in enumerate(
        [(b"\x0f", "red"), (b"\x1f", "red"), (b"\xf0", "blue"), (b"\xe0", "blue")]
    ):
        await client.upsert(
            collection, with_bits(collection, number, data, attributes={"color": color})
        )
    reply = await client.searches.Classify(
        search_service_pb2.ClassifyRequest(
            collection=collection,
            query=by_bits(b"\x0e"),
            label="color",
            neighbors=2,
            consistency=search_service_pb2.CONSISTENCY_STRONG,
        )
    )
    assert reply.label.string_value == "red"


BAD = {
    "fewer bits": (bits(b"\x01"), EncoderMismatchError, ""),
    "more bits": (bits(bytes(9)), EncoderMismatchError, ""),
    "more bytes than bits": (bits(b"\x01" * 9, SIZE), InvalidArgumentError, ".binary.data"),
    "another number of bytes": (bits(b"\x01" * 7, SIZE), InvalidArgumentError, ".binary.data"),
    "bits beyond the last": (bits(b"\x01" * 7 + b"\xff", 60), InvalidArgumentError, ".binary.data"),
    "no bit": (bits(bytes(8)), InvalidArgumentError, ""),
    "numbers": (dense(*[1.0] * SIZE), EncoderMismatchError, ""),
    "sparse": (
        vector_pb2.Vector(sparse=vector_pb2.SparseVector(indices=[1], values=[1.0])),
        UnimplementedError,
        ".sparse",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
async def test_refused(client: SearchClient, case: str) -> None:
    vector, error, field = BAD[case]
    collection = await client.create(bits_field())
    bad = entity(collection, "bad")
    bad.vectors["vector"].CopyFrom(vector)
    reply = await client.upsert(collection, bad, with_bits(collection, 1, QUERY))
    refused = upsert_error(reply.results[0])
    assert (type(refused), refused.field) == (error, f"entities[0].vectors.vector{field}")
    assert reply.results[1].HasField("entity")
    caught = await failure(find(client, collection, search_service_pb2.Query(vector=vector)))
    assert (type(caught), caught.field) == (error, f"queries[0].vector{field}")


async def test_bits_are_not_compared_with_numbers(client: SearchClient) -> None:
    collection = await client.create(plain_field(dimensions=8))
    caught = await failure(find(client, collection, by_bits(b"\x01")))
    assert type(caught) is EncoderMismatchError
    assert caught.field == "queries[0].vector"
