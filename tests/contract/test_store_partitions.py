"""Collections that keep entities apart by an attribute: to every call they are like others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lookalike_search.filters import check, parse
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    Consistency,
    EntityRecord,
    JsonValue,
    Projection,
    StoredCollection,
)
from lookalike_search.store import Freshness, VectorStore

if TYPE_CHECKING:
    from tests.contract.conftest import Factory

pytestmark = pytest.mark.feature("partition-key")

STRONG = Freshness(consistency=Consistency.STRONG)
VECTOR = np.array([1, 0, 0, 0], np.float32)
SHOP = AttributeSpec(name="shop", type=AttributeType.STRING, filterable=True)
NUMBER = AttributeSpec(name="shop", type=AttributeType.INT, filterable=True)


def record(name: str, shop: JsonValue) -> EntityRecord:
    return EntityRecord(id=name, item=name, vectors={"vector": VECTOR}, attributes={"shop": shop})


async def create(factory: Factory, shop: AttributeSpec = SHOP) -> StoredCollection:
    return await factory.create(replace(factory.spec(attributes=(shop,)), partition_key="shop"))


async def write(
    store: VectorStore, collection: StoredCollection, records: Sequence[EntityRecord]
) -> None:
    async with store.exclusive("", collection):
        await store.upsert("", collection, records)


async def found(store: VectorStore, collection: StoredCollection, text: str = "") -> list[str]:
    """Return what a search, a scan and a count agree on."""
    kinds = {each.name: each.type for each in collection.spec.attributes}
    where = check(parse(text), kinds) if text else None
    scanned = await store.scan(
        "", collection, limit=99, where=where, projection=Projection(), freshness=STRONG
    )
    neighbors = await store.search(
        "",
        collection,
        "vector",
        VECTOR,
        limit=99,
        where=where,
        projection=Projection(),
        freshness=STRONG,
        params={},
    )
    ids = [each.id for each in scanned]
    assert sorted(each.record.id for each in neighbors) == ids
    assert await store.count("", collection, where) == len(ids)
    return ids


@pytest.mark.parametrize(("spec", "shops"), [(SHOP, ("a", "b")), (NUMBER, (-1, 2**62))])
async def test_filters_find_one_value(
    store: VectorStore,
    factory: Factory,
    spec: AttributeSpec,
    shops: tuple[JsonValue, JsonValue],
) -> None:
    collection = await create(factory, spec)
    assert (await store.resolve("", collection.spec.id)).spec.partition_key == "shop"
    await write(store, collection, [record(f"e{i:02}", shops[i % 2]) for i in range(20)])
    assert await found(store, collection) == [f"e{i:02}" for i in range(20)]
    for index, shop in enumerate(shops):
        expected = [f"e{i:02}" for i in range(index, 20, 2)]
        assert await found(store, collection, f"shop = {shop}") == expected
        assert await found(store, collection, f"shop != {shops[1 - index]}") == expected


async def test_an_entity_that_moves_is_not_doubled(store: VectorStore, factory: Factory) -> None:
    collection = await create(factory)
    for shop in [chr(ord("a") + i) for i in range(8)]:
        await write(store, collection, [record("e", shop)])
        assert await found(store, collection) == ["e"]
        assert await found(store, collection, f"shop = {shop}") == ["e"]
    assert await found(store, collection, "shop = a") == []
    got = await store.get("", collection, ["e"], projection=Projection(), freshness=STRONG)
    assert got["e"].attributes == {"shop": "h"}
    async with store.exclusive("", collection):
        await store.delete("", collection, ["e"])
    assert await found(store, collection) == []
