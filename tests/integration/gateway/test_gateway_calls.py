"""Calls through a real gateway to real gRPC servers: what arrives, and what comes back."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import pytest

from lookalike.search.v1 import search_service_pb2, search_service_pb2_grpc
from lookalike_common.channels import open_channel
from lookalike_common.testing import loopback
from tests.integration.gateway.conftest import Peers

SEARCH = "/v1/collections/{}:search"
QUERY: dict[str, Any] = {"queries": [{"content": {"text": "a"}}]}


def reason(body: dict[str, Any]) -> str:
    return str(body["error"]["details"][0]["reason"])


async def test_a_search_by_json_is_the_search_by_grpc(
    http: httpx2.AsyncClient, peers: Peers
) -> None:
    image = b"\x89PNG\x00\xff"
    queries = [{"content": {"image": base64.b64encode(image).decode()}}, {"content": {"text": "é"}}]
    reply = await http.post(SEARCH.format("photos"), json={"queries": queries, "topK": 3})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    hits = reply.json()["hits"]
    assert [each["entity"]["text"] for each in hits] == [image.hex(), "é"]
    assert hits[0]["entity"]["generation"] == str(2**60)
    async with open_channel(loopback(peers.servers["search"].port)) as channel:
        request = search_service_pb2.SearchRequest(collection="collections/photos")
        request.queries.add().content.image = image
        request.queries.add().content.text = "é"
        direct = await search_service_pb2_grpc.SearchServiceStub(channel).Search(request)
    names = [each.entity.name for each in direct.hits]
    assert [each["entity"]["name"] for each in hits] == names


async def test_every_service_gets_its_own_calls(http: httpx2.AsyncClient, peers: Peers) -> None:
    asset = f"assets/{'0' * 64}"
    assert (await http.get("/v1/encoders")).json() == {}
    assert (await http.get("/v1/collections?pageSize=7")).json() == {"nextPageToken": "7"}
    assert (await http.get(f"/v1/{asset}")).json()["sizeBytes"] == str(2**53 + 1)
    assert (await http.delete("/v1/collections/a")).json() == {}
    assert [len(each.headers) for each in (peers.encoder, peers.search, peers.ingest)] == [1, 2, 1]


@pytest.mark.parametrize("name", ["encoder", "search", "ingest", "gateway"])
async def test_every_server_tells_about_itself(http: httpx2.AsyncClient, name: str) -> None:
    info = (await http.get(f"/v1/servers/{name}")).json()
    assert info["name"] == f"servers/{name}"
    assert info["limits"]


async def test_the_body_is_a_field_and_the_rest_is_query(http: httpx2.AsyncClient) -> None:
    collection = {"vectorFields": [{"dimensions": 2, "metric": "METRIC_COSINE"}]}
    reply = await http.post("/v1/collections?collectionId=new", json=collection)
    assert reply.json() == {"name": "collections/new", **collection}


async def test_large_messages_go_both_ways(http: httpx2.AsyncClient) -> None:
    text = "ab" * 200_000
    reply = await http.post(
        SEARCH.format("photos"), json={"queries": [{"content": {"image": "A" * 400_000}}]}
    )
    assert len(reply.json()["hits"][0]["entity"]["text"]) == 600_000, text[:2]
    large = (await http.get("/v1/collections/large")).json()
    assert len(large["description"]) == 1024 * 1024


@pytest.mark.parametrize(
    ("collection", "status", "code", "why"),
    [
        ("missing", 404, "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        ("filter", 400, "INVALID_ARGUMENT", "INVALID_FILTER"),
        ("full", 429, "RESOURCE_EXHAUSTED", "OVERLOADED"),
        ("away", 503, "UNAVAILABLE", "BACKEND_UNAVAILABLE"),
        ("broken", 500, "INTERNAL", "INTERNAL"),
        ("NOT-A-NAME", 400, "INVALID_ARGUMENT", "INVALID_FIELD"),
    ],
)
async def test_an_error_of_a_service_keeps_its_reason(
    http: httpx2.AsyncClient, collection: str, status: int, code: str, why: str
) -> None:
    reply = await http.post(SEARCH.format(collection), json=QUERY)
    body = reply.json()
    assert (reply.status_code, body["error"]["code"]) == (status, status)
    assert body["error"]["status"] == code
    assert reason(body) == why
    assert "secret" not in reply.text
    assert reply.headers.get("retry-after") == ("2" if collection == "full" else None)
    info = next(each for each in body["error"]["details"] if each["@type"].endswith("RequestInfo"))
    assert info["requestId"] == reply.headers["x-request-id"]


async def test_rules_of_the_protos_are_told_by_field(http: httpx2.AsyncClient) -> None:
    reply = await http.post(SEARCH.format("photos"), json={**QUERY, "offset": -1})
    assert reply.status_code == 400
    details = {each["@type"].rpartition(".")[2]: each for each in reply.json()["error"]["details"]}
    assert details["BadRequest"]["fieldViolations"][0]["field"] == "offset"


async def test_what_is_no_json_never_reaches_a_service(
    http: httpx2.AsyncClient, peers: Peers
) -> None:
    path = SEARCH.format("photos")
    for body in (b"{", b"[]", b'{"nothing": 1}', b"\xff"):
        reply = await http.post(path, content=body, headers={"content-type": "application/json"})
        assert (reply.status_code, reason(reply.json())) == (400, "INVALID_FIELD")
    assert not peers.search.headers


async def test_a_call_without_a_body_takes_none(http: httpx2.AsyncClient) -> None:
    reply = await http.request("DELETE", "/v1/collections/a", json={"etag": "x"})
    assert reply.status_code == 400


@pytest.mark.parametrize("given", ["id-1", "a/b:c=", "not good", "", "x" * 200])
async def test_request_ids_go_through(http: httpx2.AsyncClient, peers: Peers, given: str) -> None:
    reply = await http.get("/v1/collections", headers={"x-request-id": given})
    told = reply.headers["x-request-id"]
    assert told == peers.search.contexts[-1].request_id
    accepted = given in {"id-1", "a/b:c="}
    assert (told == given) is accepted
    assert len(told) == len(given) or len(told) == 32


async def test_a_token_is_passed_on_and_none_is_made_up(
    http: httpx2.AsyncClient, peers: Peers
) -> None:
    await http.get("/v1/collections", headers={"authorization": "Bearer abc"})
    await http.get("/v1/collections", headers={"x-lookalike-tenant": "other"})
    assert peers.search.headers[0]["authorization"] == "Bearer abc"
    assert "authorization" not in peers.search.headers[1]
    assert "x-lookalike-tenant" not in peers.search.headers[1]
