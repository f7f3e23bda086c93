"""Streamed replies, time limits, and callers who leave."""

from __future__ import annotations

import asyncio
import json
import time

import httpx2
import pytest

from lookalike_common.testing import assert_eventually, free_port, loopback, running
from lookalike_gateway.adapters.http_server import HttpServer
from lookalike_gateway.app import build
from tests.integration.gateway.conftest import Peers, client_of
from tests.support.gateway_peers import SearchPeer

SLOW = "/v1/collections/slow:search"
QUERY = {"queries": [{"content": {"text": "a"}}]}


async def test_streamed_replies_are_lines_of_json(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/jobs/a:watch?offset=10")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert lines == [{"offset": str(n), "job": {"name": "jobs/a"}} for n in (11, 12, 13)]


async def test_lines_come_as_soon_as_they_are_there(http: httpx2.AsyncClient, peers: Peers) -> None:
    async with http.stream("GET", "/v1/jobs/quiet:watch") as reply:
        lines = reply.aiter_lines()
        assert json.loads(await anext(lines))["offset"] == "1"
        assert not peers.ingest.left.is_set()


async def test_a_stream_without_replies(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/jobs/empty:watch")
    assert (reply.status_code, reply.text) == (200, "")


async def test_an_error_before_the_first_reply_has_its_status(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/jobs/missing:watch")
    assert reply.status_code == 404
    assert reply.json()["error"]["status"] == "NOT_FOUND"


async def test_an_error_after_the_first_reply_is_the_last_line(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/jobs/breaks:watch")
    *replies, last = [json.loads(line) for line in reply.text.splitlines()]
    assert [each["offset"] for each in replies] == ["1", "2"]
    assert last["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert last["error"]["details"][0]["reason"] == "OVERLOADED"


async def test_leaving_a_stream_cancels_the_call(http: httpx2.AsyncClient, peers: Peers) -> None:
    async with http.stream("GET", "/v1/jobs/quiet:watch") as reply:
        await anext(reply.aiter_lines())
    await asyncio.wait_for(peers.ingest.left.wait(), 10)


async def test_leaving_a_call_cancels_it(http: httpx2.AsyncClient, peers: Peers) -> None:
    call = asyncio.create_task(http.post(SLOW, json=QUERY))
    await asyncio.wait_for(peers.search.waiting.wait(), 10)
    call.cancel()
    await asyncio.wait_for(peers.search.left.wait(), 10)


async def test_a_time_limit_is_kept_and_told_to_the_service(
    http: httpx2.AsyncClient, peers: Peers
) -> None:
    reply = await http.post(SLOW, json=QUERY, headers={"grpc-timeout": "300m"})
    assert reply.status_code == 504
    assert reply.json()["error"]["details"][0]["reason"] == "DEADLINE_EXCEEDED"
    deadline = peers.search.contexts[0].deadline
    assert deadline is not None
    assert deadline < time.monotonic() + 0.3
    await asyncio.wait_for(peers.search.left.wait(), 10)


async def test_a_time_limit_ends_a_stream(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/jobs/quiet:watch", headers={"grpc-timeout": "300m"})
    last = json.loads(reply.text.splitlines()[-1])
    assert last["error"]["status"] == "DEADLINE_EXCEEDED"


async def test_a_time_limit_that_is_none(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/collections", headers={"grpc-timeout": "soon"})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("grpc-timeout: ")


async def test_without_a_limit_the_configured_one_holds(peers: Peers) -> None:
    target = {"address": peers.targets()["search"].address, "deadline": 0.3}
    async with running(build(peers.settings(search=target))) as server, client_of(server) as http:
        reply = await http.post(SLOW, json=QUERY)
    assert reply.status_code == 504


async def test_a_service_that_is_away(peers: Peers) -> None:
    target = {"address": "127.0.0.1:1"}
    async with running(build(peers.settings(search=target))) as server, client_of(server) as http:
        reply = await http.get("/v1/collections")
        assert reply.status_code == 503
        assert reply.json()["error"]["message"] == "the search service cannot be reached"
        ready = await http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["services"] == {
        "encoder": "SERVING",
        "search": "NOT_SERVING",
        "ingest": "SERVING",
    }


async def test_a_service_that_comes_late_is_found_at_once(peers: Peers) -> None:
    # What a peer does not serve is UNIMPLEMENTED, as the generated classes have it.
    late = SearchPeer().server()  # type: ignore[abstract] # see above
    late.settings = late.settings.model_copy(update={"port": free_port()})
    settings = peers.settings(search=loopback(late.settings.port))
    async with running(build(settings)) as server, client_of(server) as http:

        async def is_ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        end = time.monotonic() + 3
        while time.monotonic() < end:  # the longer it is away, the longer gRPC would wait
            assert not await is_ready()
        async with running(late):
            await assert_eventually(is_ready, timeout=2)
            assert (await http.get("/v1/collections")).status_code == 200


async def test_stopping_lets_calls_end(peers: Peers) -> None:
    async with running(build(peers.settings())) as server, client_of(server) as http:
        call = asyncio.create_task(http.get("/v1/jobs/quiet:watch", headers={"grpc-timeout": "1S"}))
        await asyncio.wait_for(peers.ingest.waiting.wait(), 10)
        await server.stop()
        reply = await call
    assert json.loads(reply.text.splitlines()[-1])["error"]["status"] == "DEADLINE_EXCEEDED"


async def test_calls_that_do_not_end_are_cancelled(peers: Peers) -> None:
    async with running(build(peers.settings())) as server, client_of(server) as http:
        call = asyncio.create_task(http.get("/v1/jobs/quiet:watch"))
        await asyncio.wait_for(peers.ingest.waiting.wait(), 10)
        await server.stop()
        await asyncio.wait_for(peers.ingest.left.wait(), 10)
        with pytest.raises(httpx2.TransportError):
            await call


async def test_a_taken_port_is_told(gateway: HttpServer, peers: Peers) -> None:
    settings = peers.settings()
    taken = settings.server.model_copy(update={"port": gateway.port})
    async with build(settings.model_copy(update={"server": taken})) as second:
        with pytest.raises(OSError, match="cannot listen"):
            await second.start()


async def test_many_callers_at_once(http: httpx2.AsyncClient, peers: Peers) -> None:
    paths = [f"/v1/collections/c{number}" for number in range(100)]
    replies = await asyncio.gather(*(http.get(path) for path in paths))
    assert [each.json()["name"] for each in replies] == [path[4:] for path in paths]
    await assert_eventually(lambda: len(peers.search.headers) == 100)
