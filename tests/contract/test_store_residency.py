"""Collections in and out of the memory of a `VectorStore`, and what it says about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_common.errors import CollectionNotReadyError, NotFoundError
from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.model import (
    CollectionState,
    CollectionStatus,
    Consistency,
    EntityRecord,
    IndexSpec,
    IndexType,
    Projection,
    StoredCollection,
)
from lookalike_search.store import Freshness

if TYPE_CHECKING:
    from tests.contract.conftest import Factory

STRONG = Freshness(consistency=Consistency.STRONG)
CALLS = ("get", "search", "scan", "count", "keyword_search", "upsert", "delete", "optimize")
VECTOR = np.array([1, 0, 0, 0], np.float32)


async def filled(
    store: MilvusStore, factory: Factory, index: IndexSpec | None = None, rows: int = 3
) -> StoredCollection:
    collection = await factory.create(factory.spec(index=index))
    async with store.exclusive("", collection):
        records = [EntityRecord(id=f"e{i}", vectors={"vector": VECTOR}) for i in range(rows)]
        await store.upsert("", collection, records)
    return collection


async def released(store: MilvusStore, collection: StoredCollection) -> StoredCollection:
    settings = replace(
        collection.settings, released=True, revision=collection.settings.revision + 1
    )
    changed = await store.revise("", collection, settings)
    await store.release("", changed)
    return changed


async def is_loaded(store: MilvusStore, collection: StoredCollection) -> bool:
    request = milvus_pb2.GetLoadStateRequest(collection_name=collection.storage)
    answer = await store._connection.call("GetLoadState", request)
    return bool(answer.state == common_pb2.LoadStateLoaded)


async def get(store: MilvusStore, collection: StoredCollection) -> list[str]:
    found = await store.get("", collection, ["e1"], projection=Projection(), freshness=Freshness())
    return list(found)


async def search(store: MilvusStore, collection: StoredCollection) -> list[str]:
    found = await store.search(
        "",
        collection,
        "vector",
        VECTOR,
        limit=1,
        projection=Projection(),
        freshness=STRONG,
        params={},
    )
    return [each.record.id for each in found]


async def use(store: MilvusStore, collection: StoredCollection, call: str) -> None:
    """Make a call that needs the collection in memory."""
    where = ("", collection)
    match call:
        case "get":
            await get(store, collection)
        case "search":
            await search(store, collection)
        case "scan":
            await store.scan(*where, limit=1, projection=Projection(), freshness=STRONG)
        case "count":
            await store.count(*where)
        case "keyword_search":
            await store.keyword_search(
                *where, "", "a", limit=1, projection=Projection(), freshness=STRONG
            )
        case "upsert":
            await store.upsert(*where, [EntityRecord(id="new", vectors={"vector": VECTOR})])
        case "delete":
            await store.delete(*where, ["e1"])
        case _:
            await store.optimize(*where)


async def test_a_released_collection_stays_out_of_memory(
    store: MilvusStore, factory: Factory
) -> None:
    collection = await released(store, await filled(store, factory))
    assert not await is_loaded(store, collection)
    async with store.exclusive("", collection):
        for call in CALLS:
            with pytest.raises(CollectionNotReadyError):
                await use(store, collection, call)
    assert not await is_loaded(store, collection)
    assert await store.status("", collection) == CollectionStatus(state=CollectionState.RELEASED)


async def test_who_does_not_know_yet_does_not_bring_it_back(
    store: MilvusStore, factory: Factory
) -> None:
    """As another process does for two seconds, or a call that was under way."""
    before = await filled(store, factory)
    after = await released(store, before)
    for read in (get, search):
        with pytest.raises(CollectionNotReadyError):
            await read(store, before)
    assert not await is_loaded(store, after)


async def test_a_collection_that_is_not_in_memory_is_brought_back(
    store: MilvusStore, factory: Factory
) -> None:
    """As after a restart of Milvus, or where an operator released it."""
    collection = await filled(store, factory)
    await store.release("", collection)
    assert not await is_loaded(store, collection)
    assert await get(store, collection) == ["e1"]
    assert await is_loaded(store, collection)


async def test_load_brings_back_what_was_released(store: MilvusStore, factory: Factory) -> None:
    collection = await released(store, await filled(store, factory))
    await store.load("", collection)
    settings = replace(collection.settings, released=False, revision=2)
    loaded = await store.revise("", collection, settings)
    assert await store.count("", loaded) == 3
    assert (await store.status("", loaded)).state is CollectionState.READY


async def test_what_is_released_is_so_for_the_next_process_as_well(
    store: MilvusStore, factory: Factory, milvus_uri: str
) -> None:
    mortal, kept = (
        await filled(store, factory),
        await factory.create(factory.spec(collection_id=f"{factory.spec().id}-kept")),
    )
    collection = await released(store, mortal)
    await store.load("", collection)  # as Milvus itself does at a restart
    await store.release("", kept)
    async with MilvusStore(milvus_uri) as other:
        assert await other.wait_until_available(timedelta(seconds=30))

        async def tidied() -> bool:
            return await is_loaded(store, kept) and not await is_loaded(store, collection)

        await assert_eventually(tidied)


async def test_a_dropped_collection_is_not_brought_back(
    store: MilvusStore, factory: Factory
) -> None:
    collection = await filled(store, factory)
    await store.drop("", collection)
    with pytest.raises(NotFoundError):
        await store.load("", collection)


async def test_status_follows_what_is_written(store: MilvusStore, factory: Factory) -> None:
    collection = await filled(store, factory, rows=5)
    status = await store.status("", collection)
    assert (status.state, status.entity_count) == (CollectionState.READY, 5)
    assert 0.0 <= status.indexed["vector"] <= 1.0
    await store.optimize("", collection)

    async def optimized() -> bool:
        return (await store.status("", collection)).indexed == {"vector": 1.0}

    await assert_eventually(optimized)


async def test_memory_is_estimated_by_index(store: MilvusStore, factory: Factory) -> None:
    sizes = {}
    for kind in (IndexType.FLAT, IndexType.HNSW):
        spec = factory.spec(
            collection_id=f"{factory.spec().id}-{kind}", index=IndexSpec(type=kind), dimensions=32
        )
        collection = await factory.create(spec)
        async with store.exclusive("", collection):
            vector = np.ones(32, np.float32)
            records = [EntityRecord(id=f"e{i}", vectors={"vector": vector}) for i in range(10)]
            await store.upsert("", collection, records)
        sizes[kind] = (await store.status("", collection)).memory_bytes
    assert sizes == {IndexType.FLAT: 10 * 128, IndexType.HNSW: 10 * (128 + 8 * 16)}
