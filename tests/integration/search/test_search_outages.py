"""Milvus goes away, is killed, stands still and comes back; search goes on by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2

from lookalike.search.v1 import collection_pb2, entity_service_pb2, search_service_pb2
from lookalike_client import Client
from lookalike_common.channels import open_channel
from lookalike_common.errors import BackendUnavailableError, DeadlineExceededError
from lookalike_common.server import GrpcServer
from lookalike_common.testing import assert_eventually, loopback, running
from lookalike_search.app import build
from lookalike_search.settings import MilvusSettings, SearchServerSettings, SearchSettings
from tests.support.milvus_process import MilvusProcess
from tests.support.milvus_server import MilvusServer
from tests.support.search_client import SearchClient, by_vector, entity, failure, ids

START = 60
"""Seconds in which Milvus is found again; the real server takes some to come up."""
SERVICES = tuple(
    f"lookalike.search.v1.{each}"
    for each in ("SearchService", "EntityService", "CollectionService")
)


@pytest.fixture
def milvus(milvus_process: MilvusProcess) -> MilvusProcess:
    """Return a Milvus of the test's own, not started."""
    return milvus_process


@asynccontextmanager
async def searching(milvus: MilvusProcess) -> AsyncIterator[tuple[SearchClient, GrpcServer]]:
    settings = SearchSettings(
        server=SearchServerSettings(
            port=0, metrics_port=None, drain_delay=timedelta(0), drain_grace=timedelta(seconds=2)
        ),
        milvus=MilvusSettings(uri=milvus.uri, start_limit=timedelta(0)),
        encoder=loopback(1),
    )
    async with (
        running(build(settings)) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        yield SearchClient(channel), server


def search_request(name: str) -> search_service_pb2.SearchRequest:
    return search_service_pb2.SearchRequest(collection=name, queries=[by_vector(1, 0, 0)])


async def all_ids(client: SearchClient, name: str) -> list[str]:
    request = entity_service_pb2.ListEntitiesRequest(
        collection=name, page_size=1000, output_fields=["name"]
    )
    found: list[str] = []
    while True:
        page = await client.entities.ListEntities(request)
        found += [each.name.rpartition("/")[2] for each in page.entities]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


def serving(server: GrpcServer) -> set[bool]:
    return {server.health.is_serving(each) for each in SERVICES}


async def test_starts_without_milvus_and_serves_when_it_comes(milvus: MilvusProcess) -> None:
    async with searching(milvus) as (client, server):
        assert serving(server) == {False}
        assert server.health.is_serving("lookalike.type.v1.ServerInfoService")
        started = time.monotonic()
        refused = await failure(client.count("collections/any"))
        assert type(refused) is BackendUnavailableError
        assert refused.retry_after is not None
        assert time.monotonic() - started < 5  # the channel tries four times
        with milvus:
            await assert_eventually(lambda: serving(server) == {True}, START)
            name = await client.create()
            await client.upsert(name, entity(name, "e", 1, 0, 0))
            assert ids((await client.search(name, by_vector(1, 0, 0))).hits) == ["e"]


async def test_health_is_told_over_the_wire(milvus: MilvusProcess) -> None:
    with milvus:
        async with searching(milvus) as (_, server):
            await assert_eventually(lambda: serving(server) == {True}, START)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                watch = channel.unary_stream(
                    "/grpc.health.v1.Health/Watch",
                    request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                    response_deserializer=health_pb2.HealthCheckResponse.FromString,
                )(health_pb2.HealthCheckRequest(service=SERVICES[0]))
                seen = []
                async for each in watch:
                    seen.append(each.status)
                    if seen == [1]:
                        milvus.kill()
                    elif seen == [1, 2]:
                        milvus.start()
                    elif len(seen) == 3:
                        break
    response = health_pb2.HealthCheckResponse
    assert seen == [response.SERVING, response.NOT_SERVING, response.SERVING]


async def test_what_was_acknowledged_survives_kill_9(milvus: MilvusProcess) -> None:
    """Judged by the client's own record, with eight writers at the time of each kill."""
    attributes = [
        collection_pb2.AttributeField(
            name="n", type=collection_pb2.AttributeField.TYPE_INT, filterable=True
        )
    ]
    acknowledged: set[int] = set()
    async with searching(milvus) as (client, server):
        milvus.start()
        await assert_eventually(lambda: serving(server) == {True}, START)
        name = await client.create(attributes=attributes, collection_id="survivor")

        async def write(first: int) -> None:
            for number in range(first, first + 100_000, 8):
                written = entity(name, f"e{number}", 1, number, 0, attributes={"n": number})
                try:
                    reply = await client.upsert(name, written)
                except grpc.aio.AioRpcError:
                    return
                assert reply.results[0].HasField("entity")
                acknowledged.add(number)

        for round_ in range(3):
            before = len(acknowledged)
            writers = [asyncio.create_task(write(round_ * 1_000_000 + each)) for each in range(8)]
            await assert_eventually(lambda least=before + 150: len(acknowledged) > least, 30)
            milvus.kill()
            await asyncio.gather(*writers)
            milvus.start()
            await assert_eventually(lambda: serving(server) == {True}, START)
        try:
            stored = await all_ids(client, name)
            assert len(stored) == len(set(stored)) == await client.count(name)
            assert {f"e{number}" for number in acknowledged} <= set(stored)
            for number in (min(acknowledged), max(acknowledged)):
                reply = await client.search(
                    name, by_vector(1, number, 0), filter=f"n = {number}", top_k=1
                )
                assert ids(reply.hits) == [f"e{number}"]
        finally:
            milvus.kill()


async def test_a_stream_of_writes_goes_on_over_a_kill(milvus: MilvusProcess) -> None:
    """One stream is answered with pauses while Milvus is away; the client sends again."""
    kept: list[str] = []

    def write(port: int, name: str) -> None:
        written = (entity(name, f"e{number:04}", 1, number, 0) for number in range(2000))
        with Client(search=f"127.0.0.1:{port}", health_checked=False) as sdk:
            for result in sdk.write(name, written, batch_size=20):
                assert result.HasField("entity"), result
                kept.append(result.entity.name.rpartition("/")[2])

    async with searching(milvus) as (client, server):
        milvus.start()
        try:
            await assert_eventually(lambda: serving(server) == {True}, 15)
            name = await client.create()
            writing = asyncio.create_task(asyncio.to_thread(write, server.port, name))
            await assert_eventually(lambda: len(kept) > 200, 30)
            milvus.kill()
            before = set(kept)
            milvus.start()
            await asyncio.wait_for(writing, 60)
            stored = await all_ids(client, name)
            assert before < set(stored)
            assert stored == kept == [f"e{number:04}" for number in range(2000)]
        finally:
            milvus.kill()


async def test_a_restart_needs_nothing_from_anybody(milvus: MilvusProcess) -> None:
    """After a restart collections are not in memory; whoever needs one first loads it."""
    with milvus:
        async with searching(milvus) as (client, server):
            await assert_eventually(lambda: serving(server) == {True}, START)
            name = await client.create()
            await client.upsert(name, entity(name, "e", 1, 0, 0))
            milvus.stop()
            await assert_eventually(lambda: serving(server) == {False}, START)
            milvus.start()
            await assert_eventually(lambda: serving(server) == {True}, START)
            reply = await client.searches.Search(search_request(name))
            assert ids(reply.hits) == ["e"]


async def test_a_milvus_that_stands_still_is_away_until_it_goes_on(milvus: MilvusProcess) -> None:
    """What was asked before that is noticed ends then, not with a deadline; so does the next."""
    if isinstance(milvus, MilvusServer):
        milvus.patience = 60
    with milvus:
        async with searching(milvus) as (client, server):
            await assert_eventually(lambda: serving(server) == {True}, START)
            name = await client.create()
            await client.upsert(name, entity(name, "e", 1, 0, 0))
            milvus.suspend()
            try:
                asked = asyncio.create_task(one_try(server, search_request(name), 60))
                await assert_eventually(lambda: serving(server) == {False}, START)
                assert await asked is grpc.StatusCode.UNAVAILABLE
                refused = await one_try(server, search_request(name), 1)
                assert refused is grpc.StatusCode.UNAVAILABLE
            finally:
                milvus.resume()
            await assert_eventually(lambda: serving(server) == {True}, START)
            request = search_request(name)

            async def found() -> bool:  # a real server's parts find each other again, in a while
                return await one_try(server, request, 10) is grpc.StatusCode.OK

            await assert_eventually(found, START)
            assert ids((await client.search(name, by_vector(1, 0, 0))).hits) == ["e"]


async def one_try(
    server: GrpcServer, request: search_service_pb2.SearchRequest, limit: float
) -> grpc.StatusCode:
    """Search over a channel that tries nothing again, and return the status."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        try:
            await SearchClient(channel).searches.Search(request, timeout=limit)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def test_a_milvus_that_stands_still_ends_with_the_callers_deadline(
    milvus: MilvusProcess,
) -> None:
    with milvus:
        async with searching(milvus) as (client, server):
            await assert_eventually(lambda: serving(server) == {True}, START)
            name = await client.create()
            milvus.suspend()
            try:
                refused = await failure(client.searches.Search(search_request(name), timeout=0.5))
            finally:
                milvus.resume()
            assert type(refused) is DeadlineExceededError
            assert await client.count(name) == 0
