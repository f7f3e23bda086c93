"""Writers, deleters, a backfiller, searchers and the steps of a migration, all at the same time.

Two processes of search share one Milvus. Each writer keeps its own record of what was acknowledged;
in the end the collection has exactly that, with the vectors of the encoder that answers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import grpc.aio
import pytest

from lookalike_common.channels import open_channel
from lookalike_common.errors import CollectionNotReadyError, ConcurrentChangeError
from lookalike_common.server import GrpcServer
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually, loopback, running
from lookalike_search.app import build
from lookalike_search.settings import SearchSettings
from tests.integration.search.conftest import search_settings
from tests.integration.search.test_search_migrations import (
    TEXT_FIELD,
    abort,
    copied,
    finish,
    get,
    quick,
    search,
    start,
    stored,
    vector,
)
from tests.support.search_client import SearchClient, by_entity, by_text, entity, ids
from tests.support.toy_encoder import letters

WRITERS = 3
KEYS = 12
"""Entities that a writer takes turns with."""
ANCHOR = "aabbz"
"""The text of an entity that nobody changes: every search for it finds it, at score 1."""
BUSY = 15
"""Calls of writers that make sure that much has happened."""
STEPS_LIMIT = 60.0


@pytest.fixture
async def clients(milvus_uri: str, encoder_server: GrpcServer) -> AsyncIterator[list[SearchClient]]:
    """Yield the clients of two processes of search."""
    async with searching(quick(search_settings(milvus_uri, encoder_server.port))) as clients:
        yield clients


@asynccontextmanager
async def searching(settings: SearchSettings) -> AsyncIterator[list[SearchClient]]:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(build(settings))) for _ in range(2)]
        yield [
            SearchClient(await stack.enter_async_context(open_channel(loopback(each.port))))
            for each in servers
        ]


@dataclass
class Writer:
    """Writes and deletes entities of its own, one call after the other, by either process."""

    number: int
    name: str
    clients: Sequence[SearchClient]
    record: dict[str, str] = field(default_factory=dict)
    """The texts that were acknowledged last, by id; without what was deleted."""
    answered: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        chance = random.Random(self.number)
        while not stop.is_set():
            client = chance.choice(self.clients)
            keys = sorted({f"w{self.number}-{chance.randrange(KEYS)}" for _ in range(3)})
            if chance.random() < 0.3:
                await self._delete(client, keys)
            else:
                await self._write(
                    client, {key: "".join(chance.choices("abcdefgh", k=6)) for key in keys}
                )
            self.answered += 1

    async def _write(self, client: SearchClient, texts: dict[str, str]) -> None:
        reply = await client.upsert(
            self.name,
            *(
                entity(self.name, key, text_content=text, attributes={"words": text})
                for key, text in texts.items()
            ),
        )
        assert all(each.HasField("entity") for each in reply.results), reply
        self.record |= texts

    async def _delete(self, client: SearchClient, keys: Sequence[str]) -> None:
        known = len(self.record.keys() & set(keys))
        deleted = await client.delete(
            self.name, names=[f"{self.name}/entities/{key}" for key in keys]
        )
        assert deleted == known
        for key in keys:
            self.record.pop(key, None)


async def search_on(client: SearchClient, name: str, stop: asyncio.Event) -> None:
    """Search by content and by entity: neither an error, nor a vector of the other encoder."""
    while not stop.is_set():
        reply = await search(client, name, by_text(ANCHOR), top_k=1)
        assert ids(reply.hits) == ["anchor"]
        assert reply.hits[0].score == pytest.approx(1, abs=1e-5)
        reply = await search(client, name, by_entity(name, "anchor"), top_k=1)
        assert ids(reply.hits) != ["anchor"]


async def backfill(client: SearchClient, name: str, target: str) -> None:
    """Copy once what the collection has; what changes meanwhile is refused, one by one."""
    copies = [
        copied(each, target, str(each.attributes["words"]))
        for each in (await stored(client, name)).values()
    ]
    for first in range(0, len(copies), 7):
        await client.upsert(target, *copies[first : first + 7])


async def finish_when_possible(client: SearchClient, name: str, target: str) -> None:
    """Fill and finish until the target answers."""
    async with asyncio.timeout(STEPS_LIMIT):
        while True:
            await backfill(client, name, target)
            try:
                await finish(client, name, etag=(await get(client, name)).etag)
            except grpc.aio.AioRpcError as error:
                _check_refusal(error)
            else:
                return


def _check_refusal(error: grpc.aio.AioRpcError) -> None:
    """A step may find the other process in the middle of a write; it never fails otherwise."""
    refused = error_from_rpc(error)
    assert isinstance(refused, CollectionNotReadyError | ConcurrentChangeError), refused


@asynccontextmanager
async def busy(
    name: str, writers: Sequence[Writer], clients: Sequence[SearchClient]
) -> AsyncIterator[None]:
    """Let writers and searchers work inside; whatever goes wrong with them is raised."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for writer in writers:
            group.create_task(writer.run(stop))
        for client in clients:
            group.create_task(search_on(client, name, stop))
        try:
            yield
        finally:
            stop.set()


async def much_happens(writers: Sequence[Writer]) -> None:
    before = [each.answered for each in writers]
    await assert_eventually(
        lambda: all(
            each.answered >= so_far + BUSY for each, so_far in zip(writers, before, strict=True)
        ),
        STEPS_LIMIT,
    )


@pytest.mark.parametrize("back", [False, True])
async def test_nothing_is_lost_and_nothing_comes_back(
    clients: list[SearchClient], back: bool
) -> None:
    one, other = clients
    name = await one.create(TEXT_FIELD)
    anchor = entity(name, "anchor", text_content=ANCHOR, attributes={"words": ANCHOR})
    await one.upsert(name, anchor)
    writers = [Writer(number, name, clients) for number in range(WRITERS)]
    async with busy(name, writers, clients):
        await much_happens(writers)
        target = (await start(one, name)).migration.target
        await finish_when_possible(other, name, target)
        await much_happens(writers)
        flipped = (await get(one, name)).etag
        if back:
            async with asyncio.timeout(STEPS_LIMIT):
                while (await get(one, name)).HasField("migration"):
                    try:
                        await abort(one, name)
                    except grpc.aio.AioRpcError as error:
                        _check_refusal(error)
        else:
            await finish(other, name, etag=flipped)
        await much_happens(writers)

    expected = {"anchor": ANCHOR}
    for writer in writers:
        expected |= writer.record
    for client in clients:
        found = await stored(client, name)
        assert {key: each.attributes["words"] for key, each in found.items()} == expected
        for key, each in found.items():
            assert vector(each) == letters(expected[key])[:: 1 if back else -1]
        assert await client.count(name) == len(expected)


async def test_once_it_has_started_every_process_writes_to_both_sides(
    milvus_uri: str, encoder_server: GrpcServer
) -> None:
    """Also one that looked at the collection a moment before, and believes what it saw."""
    settings = quick(search_settings(milvus_uri, encoder_server.port), timedelta(seconds=1))
    async with searching(settings) as (one, other):
        name = await one.create(TEXT_FIELD)
        starting = asyncio.create_task(start(one, name))
        while not starting.done():
            await other.count(name)
        target = (await starting).migration.target
        await other.upsert(name, entity(name, "new", text_content="ccd"))
        assert set(await stored(one, target)) == {"new"}
