"""Changing collections and moving aliases over gRPC, on Milvus Lite."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from lookalike.type.v1 import outcome_pb2
from lookalike_common.errors import (
    CollectionNotReadyError,
    EtagMismatchError,
    InvalidArgumentError,
    NotFoundError,
)
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually
from tests.support.search_client import (
    Attribute,
    SearchClient,
    by_text,
    by_vector,
    entity,
    failure,
    ids,
    outcomes,
    upsert_error,
)
from tests.support.toy_encoder import ToyEncoder

Collection = collection_pb2.Collection


async def get(client: SearchClient, name: str) -> Collection:
    request = collection_service_pb2.GetCollectionRequest(name=name)
    reply: Collection = await client.collections.GetCollection(request)
    return reply


async def update(client: SearchClient, name: str, *paths: str, **fields: Any) -> Collection:
    request = collection_service_pb2.UpdateCollectionRequest(
        collection=Collection(name=name, **fields), update_mask=FieldMask(paths=paths)
    )
    reply: Collection = await client.collections.UpdateCollection(request)
    return reply


async def set_alias(
    client: SearchClient, alias_id: str, collection: str, etag: str = ""
) -> collection_pb2.Alias:
    alias = collection_pb2.Alias(name=f"aliases/{alias_id}", collection=collection, etag=etag)
    request = collection_service_pb2.SetAliasRequest(alias=alias)
    reply: collection_pb2.Alias = await client.collections.SetAlias(request)
    return reply


async def delete_alias(client: SearchClient, alias_id: str) -> None:
    request = collection_service_pb2.DeleteAliasRequest(name=f"aliases/{alias_id}")
    await client.collections.DeleteAlias(request)


# --- updates -----------------------------------------------------------------------------------


async def test_only_what_the_mask_names_is_changed(client: SearchClient) -> None:
    name = await client.create(description="old", labels={"a": "1"})
    before = await get(client, name)
    after = await update(client, name, "description", description="new", labels={"b": "2"})
    assert (after.description, dict(after.labels)) == ("new", {"a": "1"})
    assert after.etag != before.etag
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    assert after.create_time == before.create_time
    assert await get(client, name) == after
    emptied = await update(client, name, "labels", "description")
    assert (emptied.description, dict(emptied.labels)) == ("", {})
    assert await update(client, name, "description") == emptied  # nothing to change


async def test_of_updates_with_one_etag_one_wins(client: SearchClient) -> None:
    name = await client.create()
    etag = (await get(client, name)).etag
    calls = [
        update(client, name, "description", description=f"{number}", etag=etag)
        for number in range(8)
    ]
    replies = await asyncio.gather(*(failure_or(each) for each in calls))
    won = [each for each in replies if isinstance(each, Collection)]
    assert len(won) == 1
    assert {type(each) for each in replies} == {Collection, EtagMismatchError}
    assert (await get(client, name)).description == won[0].description
    last = await update(client, name, "description", description="x", etag=won[0].etag)
    assert last.description == "x"


async def failure_or(call: Any) -> Any:  # Any: an awaitable of whatever call, and its reply
    """Return what a call answers, or the error that it ends with."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error)


async def test_updates_without_etag_all_happen(client: SearchClient) -> None:
    """Two that change different fields do not undo each other."""
    name = await client.create()
    await asyncio.gather(
        update(client, name, "description", description="d"),
        update(client, name, "labels", labels={"l": "1"}),
    )
    found = await get(client, name)
    assert (found.description, dict(found.labels)) == ("d", {"l": "1"})


async def test_added_attributes_have_their_types(client: SearchClient) -> None:
    color = Attribute(name="color", type=Attribute.TYPE_STRING, filterable=True, nullable=True)
    name = await client.create(attributes=[color])
    await client.upsert(
        name,
        entity(name, "early", 1, 0, 0, attributes={"size": "large", "color": "red"}),
        entity(name, "number", 1, 0, 0, attributes={"size": 4}),
    )
    size = Attribute(name="size", type=Attribute.TYPE_INT, filterable=True, nullable=True)
    changed = await update(client, name, "attributes", attributes=[color, size])
    assert list(changed.attributes) == [color, size]
    reply = await client.upsert(
        name,
        entity(name, "late", 1, 0, 0, attributes={"size": 7}),
        entity(name, "wrong", 1, 0, 0, attributes={"size": "huge"}),
        entity(name, "none", 1, 0, 0),
    )
    assert upsert_error(reply.results[1]).field == "entities[1].attributes.size"
    assert await client.count(name, "size > 3") == 2
    assert await client.count(name, "size = 7") == 1
    assert await client.count(name, "NOT size:*") == 1
    wrong = entity_service_pb2.CountEntitiesRequest(collection=name, filter='size = "large"')
    assert (await failure(client.entities.CountEntities(wrong))).reason == "INVALID_FILTER"
    more = Attribute(name="more", type=Attribute.TYPE_BOOL, nullable=True)
    again = await update(client, name, "attributes", attributes=[more, color, size])
    assert [each.name for each in again.attributes] == ["color", "size", "more"]
    changed_type = Attribute(name="size", type=Attribute.TYPE_DOUBLE, nullable=True)
    refused = await failure(
        update(client, name, "attributes", attributes=[color, changed_type, more])
    )
    assert type(refused) is InvalidArgumentError
    assert refused.field == "collection.attributes[1]"


# --- aliases -----------------------------------------------------------------------------------


async def test_an_alias_stands_wherever_a_collection_does(client: SearchClient) -> None:
    name = await client.create()
    alias = f"{name}-alias"
    alias_id = alias.removeprefix("collections/")
    await set_alias(client, alias_id, name)
    reply = await client.upsert(alias, entity(alias, "e", 1, 0, 0), entity(alias, "f", 0, 1, 0))
    assert reply.results[0].entity.name == f"{alias}/entities/e"
    found = await client.search(alias, by_vector(1, 0, 0), top_k=1)
    assert [each.entity.name for each in found.hits] == [f"{alias}/entities/e"]
    assert await client.count(alias) == await client.count(name) == 2
    assert (await get(client, alias)).name == alias
    assert (await get(client, name)).aliases == [f"aliases/{alias_id}"]
    changed = await update(client, alias, "description", description="through the alias")
    assert (await get(client, name)).description == changed.description
    assert await client.delete(alias, names=[f"{alias}/entities/e"]) == 1
    assert await client.listed(name) == ["f"]
    refused = await failure(
        client.collections.DeleteCollection(
            collection_service_pb2.DeleteCollectionRequest(name=alias)
        )
    )
    assert type(refused) is NotFoundError
    await delete_alias(client, alias_id)
    assert await client.listed(name) == ["f"]


async def test_an_alias_of_an_alias_is_one_of_the_collection(client: SearchClient) -> None:
    one, two = await client.create(), await client.create()
    first = f"{one.removeprefix('collections/')}-first"
    second = f"{one.removeprefix('collections/')}-second"
    await set_alias(client, first, one)
    chained = await set_alias(client, second, f"collections/{first}")
    assert chained.collection == one
    await set_alias(client, first, two)
    assert [each.name for each in await aliases(client, one)] == [f"aliases/{second}"]
    await delete_alias(client, first)
    await delete_alias(client, second)


async def aliases(client: SearchClient, collection: str) -> list[collection_pb2.Alias]:
    found: list[collection_pb2.Alias] = []
    token = ""
    while True:
        request = collection_service_pb2.ListAliasesRequest(page_size=1, page_token=token)
        reply = await client.collections.ListAliases(request)
        assert len(reply.aliases) <= 1
        found += reply.aliases
        token = reply.next_page_token
        if not token:
            return [each for each in found if each.collection == collection]


async def test_of_movers_one_wins_and_searches_never_fail(client: SearchClient) -> None:
    """40 movers with one etag; then 60 moves while searches go on."""
    one, two = await client.create(), await client.create()
    for name in (one, two):
        await client.upsert(name, entity(name, "e", 1, 0, 0, item=name))
    alias_id = f"{one.removeprefix('collections/')}-busy"
    etag = (await set_alias(client, alias_id, one)).etag
    moves = [set_alias(client, alias_id, two, etag) for _ in range(40)]
    replies = await asyncio.gather(*(failure_or(each) for each in moves))
    assert sum(isinstance(each, collection_pb2.Alias) for each in replies) == 1
    assert sum(isinstance(each, EtagMismatchError) for each in replies) == 39

    async def move() -> None:
        for number in range(60):
            await set_alias(client, alias_id, [one, two][number % 2])

    async def keep_searching() -> None:
        while not moving.done():
            reply = await client.search(f"collections/{alias_id}", by_vector(1, 0, 0))
            assert ids(reply.hits) == ["e"]
            seen.add(reply.hits[0].entity.item)

    seen: set[str] = set()
    moving = asyncio.create_task(move())
    await asyncio.gather(moving, *(keep_searching() for _ in range(2)))
    assert seen == {one, two}
    reply: search_service_pb2.SearchResponse = await client.search(
        f"collections/{alias_id}", by_vector(1, 0, 0)
    )
    assert reply.hits[0].entity.item == two
    await delete_alias(client, alias_id)


# --- ttl ---------------------------------------------------------------------------------------


async def test_entities_live_as_long_as_they_are_written(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    """Writing the same again renews an entity, and nothing is encoded for that."""
    field = collection_pb2.VectorField(encoder="encoders/toy-text")
    name = await client.create(field, ttl=Duration(seconds=3))
    old, kept = (entity(name, each, text_content=each) for each in ("old", "kept"))
    await client.upsert(name, old, kept)
    encoded = len(toy_encoder.requests)

    async def old_is_gone() -> bool:
        assert outcomes(await client.upsert(name, kept)) == [outcome_pb2.OUTCOME_UNCHANGED]
        return await client.listed(name) == ["kept"]

    await assert_eventually(old_is_gone)
    assert len(toy_encoder.requests) == encoded
    assert type(await failure(client.get(f"{name}/entities/old"))) is NotFoundError
    assert ids((await client.search(name, by_text("old"))).hits) == ["kept"]
    assert outcomes(await client.upsert(name, old)) == [outcome_pb2.OUTCOME_CREATED]
    assert (await get(client, name)).ttl == Duration(seconds=3)


async def test_a_ttl_can_be_set_changed_and_taken_away(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, entity(name, "e", 1, 0, 0))
    assert not (await get(client, name)).HasField("ttl")
    assert (await update(client, name, "ttl", ttl=Duration(seconds=1))).ttl.seconds == 1

    async def gone() -> bool:
        return await client.count(name) == 0

    await assert_eventually(gone)
    assert not (await update(client, name, "ttl")).HasField("ttl")
    await client.upsert(name, entity(name, "e", 1, 0, 0))
    assert await client.count(name) == 1


# --- in and out of memory ----------------------------------------------------------------------


async def test_released_and_loaded_again(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, entity(name, "e", 1, 0, 0))
    etag = (await get(client, name)).etag
    release = collection_service_pb2.ReleaseCollectionRequest(name=name, etag=etag)
    load = collection_service_pb2.LoadCollectionRequest(name=name)
    out = await client.collections.ReleaseCollection(release)
    assert (out.state, out.entity_count, out.memory_bytes) == (Collection.STATE_RELEASED, 0, 0)
    assert await get(client, name) == out
    for call in (
        client.search(name, by_vector(1, 0, 0)),
        client.upsert(name, entity(name, "f", 1, 0, 0)),
        client.listed(name),
        client.delete(name, filter="price = 1"),
        client.get(f"{name}/entities/e"),
    ):
        assert type(await failure(call)) is CollectionNotReadyError
    assert type(await failure(client.collections.ReleaseCollection(release))) is EtagMismatchError
    release.etag = ""
    assert await client.collections.ReleaseCollection(release) == out  # nothing to do
    back = await client.collections.LoadCollection(load)
    assert (back.state, back.entity_count) == (Collection.STATE_READY, 1)
    assert ids((await client.search(name, by_vector(1, 0, 0))).hits) == ["e"]
    assert (await client.collections.LoadCollection(load)).etag == back.etag  # nothing to do
    await client.collections.ReleaseCollection(release)
    await client.collections.DeleteCollection(
        collection_service_pb2.DeleteCollectionRequest(name=name)
    )
    assert type(await failure(get(client, name))) is NotFoundError


async def test_optimizing_indexes_all_there_is(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, *(entity(name, f"e{i}", 1, i, 0) for i in range(20)))
    request = collection_service_pb2.OptimizeCollectionRequest(name=name)
    optimized = await client.collections.OptimizeCollection(request, timeout=20)
    assert optimized.entity_count == 20
    assert [each.index.progress for each in optimized.vector_fields] == [1.0]
