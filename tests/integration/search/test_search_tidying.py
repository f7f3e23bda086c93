"""What creations leave that were cut short: never seen by callers, and removed in the end."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from pymilvus.grpc_gen import milvus_pb2

from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.adapters.milvus.names import alias_name, physical_name
from lookalike_search.adapters.milvus.publishing import ABANDONED
from lookalike_search.adapters.milvus.schema import entity_schema
from lookalike_search.adapters.milvus.vector_columns import columns_of
from lookalike_search.model import (
    CollectionSettings,
    CollectionSpec,
    Metric,
    VectorFieldSpec,
)


def spec(collection_id: str) -> CollectionSpec:
    return CollectionSpec(
        id=collection_id,
        uid="u",
        create_time=datetime.now(UTC),
        vector_fields=(VectorFieldSpec(name="vector", dimensions=2, metric=Metric.COSINE),),
    )


async def names(store: MilvusStore, tenant: str) -> set[str]:
    request = milvus_pb2.ShowCollectionsRequest()
    answer = await store._connection.call("ShowCollections", request, tenant=tenant)
    return set(answer.collection_names)


async def abandon(store: MilvusStore, tenant: str, collection_id: str, age: timedelta) -> str:
    """Leave a collection behind as a creator does that is killed before it has the alias."""
    now = time.time_ns() // 1000
    name = physical_name(collection_id, now - int(age.total_seconds() * 1_000_000))
    columns = columns_of(spec(collection_id), native_bits=False)
    request = milvus_pb2.CreateCollectionRequest(
        collection_name=name, schema=entity_schema(name, spec(collection_id), columns)
    )
    await store._connection.call("CreateCollection", request, tenant=tenant)
    return name


async def test_creations_that_were_cut_short(milvus_uri: str) -> None:
    tenant = "tidying"
    settings = CollectionSettings(revision=0, update_time=datetime.now(UTC))
    async with MilvusStore(milvus_uri) as store:
        assert await store.wait_until_available(timedelta(seconds=30))
        published = await store.create(tenant, spec("published"), settings)
        old = await abandon(store, tenant, "cut-short", ABANDONED * 2)
        young = await abandon(store, tenant, "cut-short", timedelta(0))
        beside = await abandon(store, tenant, "published", ABANDONED * 2)
        assert await store.list_ids(tenant) == ["published"]
        release = milvus_pb2.ReleaseCollectionRequest(collection_name=published.storage)
        await store._connection.call("ReleaseCollection", release, tenant=tenant)

    async with MilvusStore(milvus_uri) as store:
        assert await store.wait_until_available(timedelta(seconds=30))

        async def tidy() -> bool:
            return await names(store, tenant) == {published.storage, young}

        await assert_eventually(tidy, 60)  # it loads whatever other tests left
        assert not {old, beside} & await names(store, tenant)
        assert await store.count(tenant, published) == 0
        created = await store.create(tenant, spec("cut-short"), settings)
        assert created.storage not in {old, young}
        assert await store.list_ids(tenant) == ["cut-short", "published"]


async def test_a_drop_never_goes_through_an_alias(milvus_uri: str) -> None:
    """Milvus Lite destroys what an alias points at when the alias is dropped as a collection."""
    settings = CollectionSettings(revision=0, update_time=datetime.now(UTC))
    async with MilvusStore(milvus_uri) as store:
        assert await store.wait_until_available(timedelta(seconds=30))
        collection = await store.create("aliases", spec("kept"), settings)
        await store._metadata.drop("aliases", alias_name("kept"))
        assert await store.resolve("aliases", "kept") == collection
