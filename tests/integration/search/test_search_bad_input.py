"""Every kind of bad input, over gRPC on Milvus Lite: a clear status, a reason, the field's path.

One table, so that it can be read as the list that it is. What needs the real encoders is in
`tests/contract/rpc_tables`, filters in their depth are in `tests/unit/search`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio
import numpy as np
import pytest
import pytest_asyncio

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    entity_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from lookalike.type.v1 import content_pb2, outcome_pb2, vector_pb2
from lookalike_common.channels import open_channel
from lookalike_common.errors import Code, LookalikeError, NotFoundError
from lookalike_common.status import error_from_rpc, error_from_status
from lookalike_common.testing import loopback, running
from lookalike_search.app import build
from tests.integration.search.conftest import search_settings
from tests.support.milvus_lite import MilvusLite
from tests.support.search_client import (
    ATTRIBUTES,
    SearchClient,
    by_entity,
    by_text,
    by_vector,
    entity,
    failure,
    plain_field,
    upsert_error,
)
from tests.support.toy_encoder import TEXT, ToyEncoder

Query = search_service_pb2.Query
Attempt = Callable[[SearchClient, str], Awaitable[Any]]  # Any: replies of all kinds


@dataclass(frozen=True)
class Refused:
    """What is tried in a collection, and how it must end."""

    attempt: Attempt
    field: str
    reason: str = "INVALID_FIELD"
    code: Code = Code.INVALID_ARGUMENT


def searching(*queries: Query, **options: Any) -> Attempt:
    return lambda client, name: client.search(name, *(queries or (by_vector(1, 0, 0),)), **options)


def filtering(text: str) -> Attempt:
    return lambda client, name: client.count(name, text)


def writing(**fields: Any) -> Attempt:
    """Write one entity; it fails alone, so its error is raised here."""

    async def attempt(client: SearchClient, name: str) -> None:
        values = fields.get("values", (1, 0, 0))
        rest = {key: value for key, value in fields.items() if key not in {"values", "name"}}
        bad = entity(name, "bad", *values, **rest)
        bad.name = fields.get("name", bad.name)
        reply = await client.upsert(name, bad)
        raise upsert_error(reply.results[0])

    return attempt


def creating(collection_id: str = "new", *fields: Any, **rest: Any) -> Attempt:
    collection = collection_pb2.Collection(vector_fields=fields or [plain_field()], **rest)
    request = collection_service_pb2.CreateCollectionRequest(
        collection_id=collection_id, collection=collection
    )
    return lambda client, _: client.collections.CreateCollection(request)


def reserved(name: str) -> Attempt:
    attribute = collection_pb2.AttributeField(name=name, type=Attribute.TYPE_STRING)
    return creating(attributes=[attribute])


def packed(*values: float) -> Query:
    """A query whose vector comes as bytes, where the rules of the protos do not look."""
    data = np.array(values, "<f4").tobytes()
    return Query(vector=vector_pb2.Vector(dense=vector_pb2.DenseVector(data=data)))


def nested(depth: int) -> str:
    return "(" * depth + "price > 1" + ")" * depth


Attribute = collection_pb2.AttributeField
BAD_FILTER = ("filter", "INVALID_FILTER")
LIMIT = ("filter", "LIMIT_EXCEEDED")
MISMATCH: dict[str, Any] = {"reason": "ENCODER_MISMATCH", "code": Code.FAILED_PRECONDITION}

REFUSED: dict[str, Refused] = {
    # how many
    "top_k 0": Refused(searching(top_k=0), "top_k"),
    "top_k -1": Refused(searching(top_k=-1), "top_k"),
    "top_k 10^9": Refused(searching(top_k=10**9), "top_k"),
    "top_k just beyond": Refused(searching(top_k=10_001), "top_k"),
    "offset -1": Refused(searching(offset=-1), "offset"),
    "a window just beyond": Refused(searching(top_k=10, offset=9_991), ""),
    # vectors
    "NaN": Refused(searching(packed(1, math.nan, 0)), "queries[0].vector"),
    "infinity": Refused(searching(packed(1, math.inf, 0)), "queries[0].vector"),
    "NaN as a number": Refused(
        searching(by_vector(1, math.nan, 0)), "queries[0].vector.dense.values[1]"
    ),
    "too few dimensions": Refused(searching(by_vector(1, 0)), "queries[0].vector", **MISMATCH),
    "too many dimensions": Refused(
        searching(by_vector(1, 0, 0, 0)), "queries[0].vector", **MISMATCH
    ),
    "no dimensions": Refused(
        searching(Query(vector=vector_pb2.Vector())), "queries[0].vector.kind"
    ),
    "a zero vector": Refused(searching(by_vector(0, 0, 0)), "queries[0].vector"),
    "the second is bad": Refused(
        searching(by_vector(1, 0, 0), by_vector(0, 0, 0)), "queries[1].vector"
    ),
    # nothing to look for
    "no query": Refused(
        lambda client, name: client.searches.Search(
            search_service_pb2.SearchRequest(collection=name)
        ),
        "queries",
    ),
    "an empty query": Refused(searching(Query()), "queries[0].source"),
    "an empty text": Refused(searching(by_text("")), "queries[0].content.text"),
    "an empty content": Refused(
        searching(Query(content=content_pb2.Content())), "queries[0].content.data"
    ),
    "17 queries": Refused(searching(*[by_vector(1, 0, 0)] * 17), "queries"),
    # filters
    "a type mismatch": Refused(filtering('price = "cheap"'), *BAD_FILTER),
    "an order of truth": Refused(filtering("sold > true"), *BAD_FILTER),
    "a key below a number": Refused(filtering("price.x = 1"), *BAD_FILTER),
    "an unbalanced parenthesis": Refused(filtering("(price > 1"), *BAD_FILTER),
    "a parenthesis too many": Refused(filtering("price > 1)"), *BAD_FILTER),
    "1 MB of filter": Refused(filtering('color = "' + "x" * 2**20 + '"'), "filter"),
    "deep nesting": Refused(filtering(nested(1000)), *LIMIT),
    "nesting just beyond": Refused(filtering(nested(33)), *LIMIT),
    "terms just beyond": Refused(filtering(" OR ".join(["price = 1"] * 201)), *LIMIT),
    "a quotation that ends early": Refused(filtering('color = "a" or true or "b"'), *BAD_FILTER),
    "a quotation that does not end": Refused(filtering('color = "a\\"'), *BAD_FILTER),
    "Milvus's own words": Refused(filtering('f_color == "a" or 1 == 1'), *BAD_FILTER),
    "a comment": Refused(filtering("price = 1 -- sold"), *BAD_FILTER),
    "another comment": Refused(filtering("price = 1 /* sold */"), *BAD_FILTER),
    "an escape that is none": Refused(filtering('color = "\\q"'), *BAD_FILTER),
    "half an escape": Refused(filtering('color = "\\u12"'), *BAD_FILTER),
    "a filter of a search": Refused(searching(filter="price >"), *BAD_FILTER),
    # what an entity cannot be
    "an attribute of the wrong type": Refused(
        writing(attributes={"price": "cheap"}), "entities[0].attributes.price"
    ),
    "a text of 70 KB": Refused(writing(text="x" * 70_000), "entities[0].text"),
    "an item's key of 70 KB": Refused(writing(item="x" * 70_000), "entities[0].item"),
    "a name of another form": Refused(writing(name="photos/1"), "entities[0].name"),
    "a string of 70 KB": Refused(
        writing(attributes={"free": "x" * 70_000}), "entities[0].attributes", "LIMIT_EXCEEDED"
    ),
    "a filterable string of 70 KB": Refused(
        writing(attributes={"color": "x" * 70_000}), "entities[0].attributes", "LIMIT_EXCEEDED"
    ),
    "attributes just beyond": Refused(
        writing(attributes={"a": "x" * (65_535 - 7)}), "entities[0].attributes", "LIMIT_EXCEEDED"
    ),
    "a reserved attribute": Refused(
        writing(attributes={"create_time": "now"}), "entities[0].attributes.create_time"
    ),
    "NaN in an entity": Refused(
        writing(values=(math.nan, 0, 0)), 'entities[0].vectors["vector"].dense.values[0]'
    ),
    "dimensions of an entity": Refused(
        writing(values=(1, 0)), "entities[0].vectors.vector", **MISMATCH
    ),
    # names
    "a reserved name of an attribute": Refused(reserved("item"), "collection.attributes[0].name"),
    "another reserved name": Refused(reserved("update_time"), "collection.attributes[0].name"),
    "a name with a quotation": Refused(reserved('a"b'), "collection.attributes[0].name"),
    "an id with a blank": Refused(creating("a b"), "collection_id"),
    "an id of 64": Refused(creating("a" * 64), "collection_id"),
    "Milvus's own name": Refused(creating("ll_photos_V1"), "collection_id"),
    # what is stale, or was never there
    "a page token that is none": Refused(
        searching(page_token="AAAA"), "page_token", "INVALID_PAGE_TOKEN"
    ),
    "a stale etag": Refused(
        lambda client, name: client.collections.DeleteCollection(
            collection_service_pb2.DeleteCollectionRequest(name=name, etag="stale")
        ),
        "etag",
        "ETAG_MISMATCH",
        Code.ABORTED,
    ),
    "an entity that is not there": Refused(
        lambda client, name: client.search(name, by_entity(name, "none")),
        "",
        "RESOURCE_NOT_FOUND",
        Code.NOT_FOUND,
    ),
}

ALLOWED: dict[str, Attempt] = {
    "the largest window": searching(top_k=10, offset=9_990),
    "the largest top_k": searching(top_k=10_000),
    "16 queries": searching(*[by_vector(1, 0, 0)] * 16),
    "the deepest nesting": filtering(nested(32)),
    "the most terms": filtering(" OR ".join(["price = 1"] * 200)),
    "an attribute that nobody has": filtering("unknown = 1"),
    "quotations, escaped": filtering('color = "a\\" or true or \\"b"'),
    "the largest attributes": lambda client, name: client.upsert(
        name, entity(name, "e", 1, 0, 0, attributes={"a": "x" * (65_535 - 8)})
    ),
    "the largest text": lambda client, name: client.upsert(
        name, entity(name, "e", 1, 0, 0, text="x" * 65_535)
    ),
}


@dataclass(frozen=True)
class Place:
    """A collection with a few entities, which nothing here changes."""

    client: SearchClient
    name: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(milvus_lite: MilvusLite) -> AsyncIterator[Place]:
    async with (
        running(ToyEncoder().server()) as encoder_server,
        running(build(search_settings(milvus_lite.uri, encoder_server.port))) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        client = SearchClient(channel)
        yield Place(client, await _filled(client))


async def _filled(client: SearchClient) -> str:
    name = await client.create(attributes=ATTRIBUTES)
    written = [
        entity(name, f"e{number}", 1, number, 0, attributes={"price": number, "color": "a"})
        for number in range(5)
    ]
    await client.upsert(name, *written)
    return name


async def _error_of(attempt: Awaitable[Any]) -> LookalikeError:
    """Return why an attempt fails, as a whole or in its one entity."""
    try:
        reply = await attempt
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error)
    except LookalikeError as error:
        return error
    raise AssertionError(f"it was answered: {reply}")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", list(REFUSED))
async def test_refused(place: Place, case: str) -> None:
    expected = REFUSED[case]
    error = await _error_of(expected.attempt(place.client, place.name))
    assert (error.code, error.reason) == (expected.code, expected.reason), error
    fields = {violation.field for violation in error.violations} or {""}
    assert expected.field in fields, fields
    assert len(error.message) < 400
    assert await place.client.count(place.name, "price < 5") == 5


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", list(ALLOWED))
async def test_allowed_at_the_edge(place: Place, case: str) -> None:
    reply = await ALLOWED[case](place.client, place.name)
    if isinstance(reply, entity_service_pb2.UpsertEntitiesResponse):
        assert reply.results[0].HasField("entity"), reply


ONE_BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a content that cannot be read": ({"text_content": "617"}, "content"),
    "no content": ({}, "vectors.vector"),
    "a text that is too long": ({"text_content": "abc", "text": "x" * 70_000}, "text"),
}
"""By what is found: by the encoder, by the collection's schema, by the rules of the protos."""


@pytest.mark.parametrize("case", list(ONE_BAD))
async def test_of_a_thousand_with_one_bad_the_good_are_written(
    client: SearchClient, case: str
) -> None:
    fields, field = ONE_BAD[case]
    name = await client.create(collection_pb2.VectorField(name="vector", encoder=TEXT))
    written = [entity(name, f"e{number:03}", text_content="abc") for number in range(1000)]
    written[617] = entity(name, "e617", **fields)
    reply = await client.upsert(name, *written)
    [bad] = [index for index, each in enumerate(reply.results) if each.HasField("error")]
    assert bad == 617
    refused = upsert_error(reply.results[bad])
    assert (refused.code, refused.violations[0].field) == (
        Code.INVALID_ARGUMENT,
        f"entities[617].{field}",
    )
    assert await client.count(name) == 999
    repaired = await client.upsert(name, *written[:617], entity(name, "e617", text_content="abc"))
    assert repaired.results[617].entity.outcome == outcome_pb2.OUTCOME_CREATED
    assert await client.count(name) == 1000


async def test_a_collection_that_is_deleted_while_it_is_searched(client: SearchClient) -> None:
    """Each call has its whole answer, or says that the collection is not there."""
    name = await _filled(client)
    ended: list[str] = []

    async def keep(call: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await call()
            except grpc.aio.AioRpcError as failed:
                error = error_from_rpc(failed)
                assert type(error) is NotFoundError, error
                assert error.resource_name.startswith(name)  # or an entity in it
                ended.append(error.reason)
                return

    callers = [
        lambda: client.search(name, by_vector(1, 0, 0), filter="price > 1"),
        lambda: client.search(name, by_vector(1, 0, 0), by_vector(0, 1, 0)),
        lambda: client.search(name, by_entity(name, "e1")),
        lambda: client.count(name),
        lambda: client.listed(name),
        lambda: client.upsert(name, entity(name, "new", 1, 0, 0)),
    ]
    running_callers = [asyncio.create_task(keep(each)) for each in callers for _ in range(2)]
    for _ in range(20):
        await client.search(name, by_vector(1, 0, 0))
    request = collection_service_pb2.DeleteCollectionRequest(name=name)
    await client.collections.DeleteCollection(request)
    await asyncio.wait_for(asyncio.gather(*running_callers), 30)
    assert len(ended) == len(running_callers)


async def test_a_page_token_of_a_collection_that_was_deleted(client: SearchClient) -> None:
    name = await _filled(client)
    page = await client.search(name, by_vector(1, 0, 0), top_k=2)
    assert page.next_page_token
    await client.collections.DeleteCollection(
        collection_service_pb2.DeleteCollectionRequest(name=name)
    )
    gone = await failure(
        client.search(name, by_vector(1, 0, 0), top_k=2, page_token=page.next_page_token)
    )
    assert (type(gone), gone.resource_name) == (NotFoundError, name)


async def test_a_generation_that_is_stale(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, entity(name, "e", 1, 0, 0, generation=8))
    reply = await client.upsert(
        name, entity(name, "e", 0, 1, 0, generation=7), entity(name, "f", 0, 1, 0, generation=7)
    )
    stale = error_from_status(reply.results[0].error)
    assert (stale.code, stale.reason) == (Code.ABORTED, "CONCURRENT_CHANGE")
    assert reply.results[1].HasField("entity")
    assert isinstance(await client.get(f"{name}/entities/e"), entity_pb2.Entity)
