"""SearchService over gRPC, on Milvus Lite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lookalike.search.v1 import collection_pb2, search_service_pb2
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_common.errors import (
    BackendUnavailableError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidContentError,
    InvalidFilterError,
    InvalidPageTokenError,
    LookalikeError,
    NotFoundError,
)
from lookalike_common.server import GrpcServer
from tests.support.search_client import (
    SearchClient,
    by_entity,
    by_text,
    by_vector,
    dense,
    entity,
    failure,
    ids,
    plain_field,
)
from tests.support.toy_encoder import IMAGE, TEXT, ToyEncoder, letters

Attribute = collection_pb2.AttributeField
ATTRIBUTES = (
    Attribute(name="color", type=Attribute.TYPE_STRING, filterable=True, nullable=True),
    Attribute(name="price", type=Attribute.TYPE_INT, filterable=True, nullable=True),
)


async def fan(client: SearchClient, count: int = 40, **options: Any) -> str:
    """Create a collection whose entities turn away from (1, 0, 0), each a little more."""
    name = await client.create(attributes=ATTRIBUTES, **options)
    await client.upsert(
        name,
        *(
            entity(
                name,
                f"e{i:03d}",
                math.cos(i / 100),
                math.sin(i / 100),
                0,
                item=f"item{i // 4}",
                attributes={"price": i, "color": "red" if i % 2 else "blue"},
            )
            for i in range(count)
        ),
    )
    return name


def numbered(*numbers: int) -> list[str]:
    return [f"e{i:03d}" for i in numbers]


# --- what is asked -----------------------------------------------------------------------------


async def test_by_vector(client: SearchClient) -> None:
    name = await fan(client)
    reply = await client.search(name, by_vector(1, 0, 0), top_k=3)
    assert ids(reply.hits) == numbered(0, 1, 2)
    assert [each.rank for each in reply.hits] == [1, 2, 3]
    for i, hit in enumerate(reply.hits):
        assert math.isclose(hit.score, math.cos(i / 100), abs_tol=1e-6)
        assert math.isclose(hit.distance, 1 - math.cos(i / 100), abs_tol=1e-6)
    first = reply.hits[0].entity
    assert first.name == f"{name}/entities/e000"
    assert first.attributes["color"] == "blue"
    assert (first.item, dict(first.vectors)) == ("item0", {})
    assert math.isclose(reply.best_score, 1.0, abs_tol=1e-6)
    assert not reply.abstained


async def test_by_content(client: SearchClient, toy_encoder: ToyEncoder) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    words = ("banana", "bandana", "cherry", "quince")
    await client.upsert(name, *(entity(name, each, text_content=each) for each in words))
    reply = await client.search(name, by_text("banana"), top_k=2)
    assert ids(reply.hits) == ["banana", "bandana"]
    asked = toy_encoder.requests[-1]
    assert asked.task_type == content_pb2.TASK_TYPE_QUERY
    assert asked.expected_fingerprint == toy_encoder.fingerprints[TEXT]


async def test_by_content_with_another_encoder_of_the_same_space(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    await client.upsert(name, entity(name, "abc", text_content="abc"))
    content = content_pb2.Content(image=b"abc")
    query = search_service_pb2.Query(content=content, encoder="encoders/toy-image")
    assert ids((await client.search(name, query)).hits) == ["abc"]
    assert toy_encoder.requests[-1].encoder == IMAGE
    other = await client.create(plain_field(dimensions=26, space="other@1"))
    refused = await failure(client.search(other, query))
    assert type(refused) is EncoderMismatchError
    assert refused.field == "queries[0].encoder"


async def test_by_stored_entity_leaves_itself_out(client: SearchClient) -> None:
    name = await fan(client)
    reply = await client.search(name, by_entity(name, "e005"), top_k=4)
    assert sorted(ids(reply.hits)) == numbered(3, 4, 6, 7)
    assert (await client.search(name, by_entity(name, "e005"), top_k=1)).next_page_token


async def test_by_entity_of_another_collection_of_the_same_space(client: SearchClient) -> None:
    name = await client.create(plain_field(space="s@1"))
    await client.upsert(name, entity(name, "e", 1, 0, 0))
    home = await client.create(plain_field(space="s@1"))
    await client.upsert(home, entity(home, "e", 1, 1, 0))
    assert ids((await client.search(name, by_entity(home, "e"))).hits) == ["e"]
    foreign = await client.create(plain_field(space="t@1"))
    await client.upsert(foreign, entity(foreign, "e", 1, 1, 0))
    refused = await failure(client.search(name, by_entity(foreign, "e")))
    assert type(refused) is EncoderMismatchError
    assert refused.field == "queries[0].entity"


@pytest.mark.parametrize(
    ("metric", "scores", "distances"),
    [
        (vector_pb2.METRIC_COSINE, [1, 2**-0.5, 0], [0, 1 - 2**-0.5, 1]),
        (vector_pb2.METRIC_INNER_PRODUCT, [4, 2, 0], [-4, -2, 0]),
        (vector_pb2.METRIC_EUCLIDEAN, [1, 1 / 3, 1 / (1 + 8**0.5)], [0, 2, 8**0.5]),
    ],
)
async def test_scores_and_distances(
    client: SearchClient,
    metric: vector_pb2.Metric.ValueType,
    scores: list[float],
    distances: list[float],
) -> None:
    name = await client.create(plain_field(metric=metric))
    vectors = {"a": (2, 0, 0), "b": (2, 2, 0), "c": (0, 2, 0)}
    if metric == vector_pb2.METRIC_INNER_PRODUCT:
        vectors["b"] = (1, 1, 0)
    await client.upsert(name, *(entity(name, key, *each) for key, each in vectors.items()))
    reply = await client.search(name, by_vector(2, 0, 0))
    assert ids(reply.hits) == ["a", "b", "c"]
    assert np.allclose([each.score for each in reply.hits], scores, atol=1e-6)
    assert np.allclose([each.distance for each in reply.hits], distances, atol=1e-6)


async def test_filter(client: SearchClient) -> None:
    name = await fan(client)
    reply = await client.search(
        name, by_vector(1, 0, 0), filter='color = "red" AND price > 10', top_k=3
    )
    assert ids(reply.hits) == numbered(11, 13, 15)


async def test_output_fields_and_vectors(client: SearchClient) -> None:
    name = await fan(client, 3)
    reply = await client.search(
        name,
        by_vector(1, 0, 0),
        output_fields=["attributes.price"],
        include_vectors=True,
        vector_format=vector_pb2.VECTOR_FORMAT_VALUES,
    )
    found = reply.hits[1].entity
    assert dict(found.attributes) == {"price": 1}
    assert (found.item, found.generation) == ("", 0)
    assert math.isclose(found.vectors["vector"].dense.values[1], math.sin(0.01), abs_tol=1e-6)


async def test_vector_searches_go_on_without_the_encoder(
    client: SearchClient, encoder_server: GrpcServer
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    await client.upsert(name, entity(name, "abc", text_content="abc"))
    await encoder_server.stop()
    query = search_service_pb2.Query(vector=dense(*letters("abc")))
    assert ids((await client.search(name, query)).hits) == ["abc"]
    assert type(await failure(client.search(name, by_text("abc")))) is BackendUnavailableError


async def test_an_encoder_that_changed_is_refused(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    bound = toy_encoder.fingerprints[TEXT]
    toy_encoder.fingerprints[TEXT] = "cc" * 32
    refused = await failure(client.search(name, by_text("abc")))
    assert type(refused) is EncoderMismatchError
    assert bound in refused.message
    assert "cc" * 32 in refused.message


# --- thresholds --------------------------------------------------------------------------------


async def test_min_score_and_max_score(client: SearchClient) -> None:
    name = await fan(client)
    floor, ceiling = math.cos(0.105), math.cos(0.055)
    reply = await client.search(name, by_vector(1, 0, 0, min_score=floor), top_k=40)
    assert ids(reply.hits) == numbered(*range(11))
    assert not reply.abstained
    reply = await client.search(
        name, by_vector(1, 0, 0, min_score=floor, max_score=ceiling), top_k=3
    )
    assert ids(reply.hits) == numbered(6, 7, 8)
    assert reply.next_page_token


async def test_nothing_is_good_enough(client: SearchClient) -> None:
    name = await fan(client)
    reply = await client.search(name, by_vector(0, 0, 1, min_score=0.5))
    assert (list(reply.hits), reply.abstained) == ([], True)
    assert math.isclose(reply.best_score, 0.0, abs_tol=1e-6)
    empty = await client.search(name, by_vector(1, 0, 0), filter="price > 1000")
    assert (list(empty.hits), empty.abstained, empty.HasField("best_score")) == ([], False, False)


# --- pages -------------------------------------------------------------------------------------


async def pages(
    client: SearchClient, name: str, query: search_service_pb2.Query, **options: Any
) -> list[search_service_pb2.SearchResponse]:
    found = [await client.search(name, query, **options)]
    while found[-1].next_page_token:
        token = found[-1].next_page_token
        found.append(await client.search(name, query, page_token=token, **options))
    return found


@pytest.mark.parametrize("top_k", [1, 7, 40, 100])
async def test_pages_fit_together(client: SearchClient, top_k: int) -> None:
    name = await fan(client)
    found = await pages(client, name, by_vector(1, 0, 0), top_k=top_k)
    assert [each for page in found for each in ids(page.hits)] == numbered(*range(40))
    ranks = [hit.rank for page in found for hit in page.hits]
    assert ranks == list(range(1, 41))
    assert len(found) == math.ceil(40 / top_k)


async def test_pages_among_equal_scores(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, *(entity(name, f"e{i:03d}", 1, 2, 3) for i in range(30)))
    found = await pages(client, name, by_vector(1, 2, 3), top_k=4)
    assert [each for page in found for each in ids(page.hits)] == numbered(*range(30))


async def test_offset(client: SearchClient) -> None:
    name = await fan(client)
    reply = await client.search(name, by_vector(1, 0, 0), offset=10, top_k=3)
    assert ids(reply.hits) == numbered(10, 11, 12)
    assert reply.hits[0].rank == 11
    following = await client.search(
        name, by_vector(1, 0, 0), offset=10, top_k=3, page_token=reply.next_page_token
    )
    assert ids(following.hits) == numbered(13, 14, 15)


async def test_a_page_token_belongs_to_its_request(client: SearchClient) -> None:
    name = await fan(client)
    token = (await client.search(name, by_vector(1, 0, 0), top_k=3)).next_page_token
    other = client.search(name, by_vector(0, 1, 0), top_k=3, page_token=token)
    assert type(await failure(other)) is InvalidPageTokenError
    damaged = client.search(name, by_vector(1, 0, 0), top_k=3, page_token=token[:-3])
    assert type(await failure(damaged)) is InvalidPageTokenError


# --- groups ------------------------------------------------------------------------------------


async def test_group_by_item(client: SearchClient) -> None:
    name = await fan(client)
    group_by = search_service_pb2.GroupBy(field="item")
    reply = await client.search(name, by_vector(1, 0, 0), group_by=group_by, top_k=3)
    assert [each.key.string_value for each in reply.groups] == ["item0", "item1", "item2"]
    assert [ids(each.hits) for each in reply.groups] == [
        numbered(0),
        numbered(4),
        numbered(8),
    ]
    assert reply.groups[1].hits[0].entity.attributes["price"] == 4
    assert not reply.hits
    assert not reply.truncated
    found = await pages(client, name, by_vector(1, 0, 0), group_by=group_by, top_k=4)
    keys = [each.key.string_value for page in found for each in page.groups]
    assert keys == [f"item{i}" for i in range(10)]


async def test_group_by_attribute(client: SearchClient) -> None:
    name = await fan(client)
    await client.upsert(name, entity(name, "colorless", 1, 0, 0.5))
    reply = await client.search(
        name, by_vector(1, 0, 0), group_by=search_service_pb2.GroupBy(field="color", size=3)
    )
    keys = [each.key.string_value or None for each in reply.groups]
    assert keys == ["blue", "red", None]
    assert ids(reply.groups[0].hits) == numbered(0, 2, 4)
    assert [each.rank for each in reply.groups[0].hits] == [1, 2, 3]
    assert ids(reply.groups[2].hits) == ["colorless"]


# --- several queries ---------------------------------------------------------------------------


async def test_fusion(client: SearchClient) -> None:
    name = await fan(client)
    near, far = by_vector(1, 0, 0), by_vector(math.cos(0.39), math.sin(0.39), 0, weight=2)
    for fusion in ("FUSION_UNSPECIFIED", "FUSION_RRF", "FUSION_WEIGHTED", "FUSION_MAX"):
        reply = await client.search(
            name, near, far, fusion=search_service_pb2.Fusion.Value(fusion), top_k=40, explain=True
        )
        assert sorted(ids(reply.hits)) == numbered(*range(40))
        scores = [each.score for each in reply.hits]
        assert scores == sorted(scores, reverse=True)
        assert not any(each.HasField("distance") for each in reply.hits)
        assert {len(each.contributions) for each in reply.hits} == {2}
        assert {each.stage for each in reply.timings} >= {"encode", "store"}
    assert ids(reply.hits)[0] == "e039"


async def test_min_score_counts_before_fusion(client: SearchClient) -> None:
    name = await fan(client)
    reply = await client.search(
        name,
        by_vector(1, 0, 0, min_score=math.cos(0.025)),
        by_vector(0, 0, 1, min_score=0.9),
        explain=True,
    )
    assert ids(reply.hits) == numbered(0, 1, 2)
    assert [each.query for each in reply.hits[0].contributions] == [0]


# --- read your writes --------------------------------------------------------------------------


async def test_consistency_token(client: SearchClient) -> None:
    name = await client.create()
    for i in range(5):
        written = await client.upsert(name, entity(name, f"e{i}", 1, i, 0))
        reply = await client.search(
            name, by_vector(1, i, 0), top_k=1, consistency_token=written.consistency_token
        )
        assert ids(reply.hits) == [f"e{i}"]
    refused = await failure(client.search(name, by_vector(1, 0, 0), consistency_token="made up"))
    assert (type(refused), refused.field) == (InvalidArgumentError, "consistency_token")


# --- bad input ---------------------------------------------------------------------------------

BAD: dict[str, tuple[search_service_pb2.Query, dict[str, Any], type[LookalikeError], str]] = {
    "wrong dimensions": (by_vector(1, 0), {}, EncoderMismatchError, "queries[0].vector"),
    "a zero vector": (by_vector(0, 0, 0), {}, InvalidArgumentError, "queries[0].vector"),
    "NaN": (
        search_service_pb2.Query(
            vector=vector_pb2.Vector(
                dense=vector_pb2.DenseVector(data=np.array([1, np.nan, 0], "<f4").tobytes())
            )
        ),
        {},
        InvalidArgumentError,
        "queries[0].vector",
    ),
    "NaN as a number": (
        by_vector(1, float("nan"), 0),
        {},
        InvalidArgumentError,
        "queries[0].vector.dense.values[1]",
    ),
    "no top_k": (by_vector(1, 0, 0), {"top_k": 0}, InvalidArgumentError, "top_k"),
    "top_k too large": (by_vector(1, 0, 0), {"top_k": 10_001}, InvalidArgumentError, "top_k"),
    "window too large": (
        by_vector(1, 0, 0),
        {"top_k": 5001, "offset": 5000},
        InvalidArgumentError,
        "",
    ),
    "unknown vector field": (
        by_vector(1, 0, 0, vector_field="other"),
        {},
        InvalidArgumentError,
        "queries[0].vector_field",
    ),
    "content without an encoder": (by_text("abc"), {}, InvalidArgumentError, "queries[0].content"),
    "nothing to look for": (
        search_service_pb2.Query(),
        {},
        InvalidArgumentError,
        "queries[0].source",
    ),
    "a structure": (
        search_service_pb2.Query(structure=search_service_pb2.StructureQuery(smiles="C")),
        {},
        InvalidArgumentError,
        "queries[0].encoder",
    ),
    "a broken filter": (by_vector(1, 0, 0), {"filter": "price <"}, InvalidFilterError, "filter"),
    "groups by a field that is none": (
        by_vector(1, 0, 0),
        {"group_by": search_service_pb2.GroupBy(field="text")},
        InvalidArgumentError,
        "group_by.field",
    ),
    "groups by a hostile field": (
        by_vector(1, 0, 0),
        {"group_by": search_service_pb2.GroupBy(field='"] or')},
        InvalidArgumentError,
        "group_by.field",
    ),
    "an unknown output field": (
        by_vector(1, 0, 0),
        {"output_fields": ["nothing"]},
        InvalidArgumentError,
        "output_fields[0]",
    ),
    "an unknown parameter": (
        by_vector(1, 0, 0),
        {"params": {"effort": 3}},
        InvalidArgumentError,
        "params.effort",
    ),
    "a parameter out of range": (
        by_vector(1, 0, 0),
        {"params": {"ef": 0}},
        InvalidArgumentError,
        "params.ef",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
async def test_refused(client: SearchClient, case: str) -> None:
    query, options, kind, field = BAD[case]
    name = await client.create(attributes=ATTRIBUTES)
    refused = await failure(client.search(name, query, **options))
    assert type(refused) is kind, refused.message
    assert field in {each.field for each in refused.violations}


async def test_missing_things(client: SearchClient) -> None:
    missing = await failure(client.search("collections/none", by_vector(1, 0, 0)))
    assert (type(missing), missing.resource_name) == (NotFoundError, "collections/none")
    name = await client.create()
    missing = await failure(client.search(name, by_entity(name, "none")))
    assert (type(missing), missing.resource_name) == (NotFoundError, f"{name}/entities/none")
    missing = await failure(client.search(name, by_entity("collections/none", "e")))
    assert (type(missing), missing.resource_name) == (NotFoundError, "collections/none")


async def test_a_content_that_cannot_be_read(client: SearchClient) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    refused = await failure(client.search(name, by_text("123")))
    assert (type(refused), refused.field) == (InvalidContentError, "queries[0].content")


@pytest.mark.feature("several-vectors")
async def test_several_fields_need_a_name(client: SearchClient) -> None:
    name = await client.create(plain_field(name="a"), plain_field(name="b"))
    refused = await failure(client.search(name, by_vector(1, 0, 0)))
    assert (type(refused), refused.field) == (InvalidArgumentError, "queries[0].vector_field")
