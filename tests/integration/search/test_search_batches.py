"""BatchSearch over gRPC on Milvus Lite: the same answers as one by one, in fewer requests."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from lookalike.search.v1 import collection_pb2
from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.errors import (
    BackendUnavailableError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidContentError,
    InvalidFilterError,
    LookalikeError,
    NotFoundError,
)
from lookalike_common.server import GrpcServer
from lookalike_common.status import error_from_status
from lookalike_search.adapters.milvus.connection import MilvusConnection
from tests.support.search_client import (
    SearchClient,
    by_entity,
    by_text,
    by_vector,
    entity,
    failure,
    ids,
)
from tests.support.toy_encoder import TEXT, ToyEncoder


async def fan(client: SearchClient, count: int = 40) -> str:
    name = await client.create()
    await client.upsert(
        name,
        *(
            entity(
                name,
                f"e{i:03d}",
                math.cos(i / 100),
                math.sin(i / 100),
                0,
                attributes={"even": i % 2 == 0},
            )
            for i in range(count)
        ),
    )
    return name


async def batch(
    client: SearchClient, name: str, *requests: pb.SearchRequest
) -> list[pb.SearchResult]:
    for each in requests:
        each.consistency = each.consistency or pb.CONSISTENCY_STRONG
    request = pb.BatchSearchRequest(collection=name, requests=requests)
    reply: pb.BatchSearchResponse = await client.searches.BatchSearch(request)
    return list(reply.results)


def search(*queries: pb.Query, **options: Any) -> pb.SearchRequest:
    return pb.SearchRequest(queries=queries, **options)


def at(angle: float, **fields: Any) -> pb.Query:
    return by_vector(math.cos(angle / 100), math.sin(angle / 100), 0, **fields)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the requests to Milvus by their rpc."""
    counted: Counter[str] = Counter()
    call = MilvusConnection.call

    async def counting(self: MilvusConnection, name: str, *args: Any, **options: Any) -> Any:
        counted[name] += 1
        return await call(self, name, *args, **options)

    monkeypatch.setattr(MilvusConnection, "call", counting)
    return counted


async def test_searches_that_ask_alike_are_one_request(
    client: SearchClient, calls: Counter[str]
) -> None:
    name = await fan(client)
    await client.search(name, at(0))
    calls.clear()
    angles = [number + 0.2 for number in range(40)]
    results = await batch(client, name, *(search(at(angle), top_k=3) for angle in angles))
    assert calls["Search"] == 1
    for angle, result in zip(angles, results, strict=True):
        alone = await client.search(name, at(angle), top_k=3)
        assert ids(result.response.hits) == ids(alone.hits)


async def test_as_many_as_are_allowed(client: SearchClient, calls: Counter[str]) -> None:
    name = await fan(client)
    await client.search(name, at(0))
    calls.clear()
    results = await batch(client, name, *(search(at(i % 40), top_k=1) for i in range(256)))
    assert [ids(each.response.hits) for each in results] == [[f"e{i % 40:03d}"] for i in range(256)]
    assert calls["Search"] == 2, "128 vectors go into one request"
    refused = await failure(batch(client, name, *[search(at(0))] * 257))
    assert (type(refused), refused.field) == (InvalidArgumentError, "requests")
    refused = await failure(batch(client, name))
    assert (type(refused), refused.field) == (InvalidArgumentError, "requests")


async def test_each_search_is_its_own(client: SearchClient) -> None:
    name = await fan(client)
    requests = [
        search(at(5.2), top_k=2),
        search(at(5.2), top_k=2, filter="even = true", offset=1),
        search(at(5.2), at(20.2), top_k=4, explain=True),
        search(by_entity(name, "e000"), top_k=2),
        search(at(5.2, min_score=2)),
        search(at(0), group_by=pb.GroupBy(field="even"), top_k=2),
    ]
    results = await batch(client, name, *requests)
    for request, result in zip(requests, results, strict=True):
        request.collection = name
        alone: pb.SearchResponse = await client.searches.Search(request)
        alone.ClearField("timings")
        assert (len(result.response.timings) > 0) == request.explain
        result.response.ClearField("timings")
        assert result.response == alone


async def test_a_page_token_of_a_batch_goes_on_in_a_search(client: SearchClient) -> None:
    name = await fan(client)
    request = search(at(0), top_k=2)
    [first] = await batch(client, name, request)
    request.page_token = first.response.next_page_token
    [second] = await batch(client, name, request)
    assert ids(second.response.hits) == ["e002", "e003"]
    request.collection = name
    assert ids((await client.searches.Search(request)).hits) == ["e002", "e003"]


async def test_contents_are_encoded_together(client: SearchClient, toy_encoder: ToyEncoder) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    words = ("banana", "bandana", "cherry", "quince")
    await client.upsert(name, *(entity(name, each, text_content=each) for each in words))
    toy_encoder.requests.clear()
    results = await batch(
        client,
        name,
        *(search(by_text(each), top_k=1) for each in words),
        search(by_text("123")),
        search(by_text("cherry"), by_text("quince"), top_k=2),
    )
    assert [len(each.items) for each in toy_encoder.requests] == [5], "the same words once"
    found = [ids(each.response.hits) for each in results]
    assert found == [["banana"], ["bandana"], ["cherry"], ["quince"], [], ["cherry", "quince"]]
    assert _error(results[4]) == (InvalidContentError, "requests[4].queries[0].content")


def _error(result: pb.SearchResult) -> tuple[type[LookalikeError], str]:
    assert result.HasField("error"), result
    error = error_from_status(result.error)
    return type(error), error.field


async def test_bad_ones_fail_alone(client: SearchClient) -> None:
    name = await fan(client)
    good = search(at(0), top_k=1)
    results = await batch(
        client,
        name,
        good,
        search(at(0), top_k=0),
        search(at(0), filter="even ="),
        search(at(0), by_vector(1, 0)),
        search(by_entity(name, "none")),
        search(by_entity("collections/none", "e")),
        search(at(0), collection="collections/other"),
        search(),
        search(at(0), offset=6000, top_k=6000),
        search(at(0), page_token="made up"),
        good,
    )
    invalid = InvalidArgumentError
    assert [ids(results[i].response.hits) for i in (0, -1)] == [["e000"], ["e000"]]
    assert [_error(each) for each in results[1:-2]] == [
        (invalid, "requests[1].top_k"),
        (InvalidFilterError, "requests[2].filter"),
        (EncoderMismatchError, "requests[3].queries[1].vector"),
        (NotFoundError, ""),
        (NotFoundError, ""),
        (invalid, "requests[6].collection"),
        (invalid, "requests[7].queries"),
        (invalid, "requests[8]"),
    ]
    assert _error(results[-2])[1] == "requests[9].page_token"


async def test_what_is_wrong_with_all_ends_the_call(
    client: SearchClient, encoder_server: GrpcServer
) -> None:
    missing = await failure(batch(client, "collections/none", search(at(0))))
    assert (type(missing), missing.resource_name) == (NotFoundError, "collections/none")
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    await client.upsert(name, entity(name, "abc", text_content="abc"))
    await encoder_server.stop()
    mixed = await batch(client, name, search(by_text("a")), search(by_entity(name, "abc")))
    assert _error(mixed[0])[0] is BackendUnavailableError
    assert mixed[1].HasField("response")
    away = await failure(batch(client, name, search(by_text("a")), search(by_text("b"))))
    assert type(away) is BackendUnavailableError


async def test_a_query_that_was_asked_before_needs_no_encoder(
    client: SearchClient, toy_encoder: ToyEncoder, encoder_server: GrpcServer
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    await client.upsert(name, entity(name, "abc", text_content="abc"))
    toy_encoder.requests.clear()
    for _ in range(2):
        assert ids((await client.search(name, by_text("abc"))).hits) == ["abc"]
    assert len(toy_encoder.requests) == 1, "an entity's vector is none of a query"
    await encoder_server.stop()
    assert ids((await client.search(name, by_text("abc"))).hits) == ["abc"]
