"""Entities that have outlived their collection's ttl: not found by any call, and swept out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.filters import check, parse
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    Consistency,
    EntityRecord,
    Projection,
    StoredCollection,
)
from lookalike_search.store import Freshness

if TYPE_CHECKING:
    from tests.contract.conftest import Factory

STRONG = Freshness(consistency=Consistency.STRONG)
PRICE = AttributeSpec(name="price", type=AttributeType.INT, filterable=True, nullable=True)
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
TTL = timedelta(seconds=100)
VECTOR = np.array([1, 0, 0, 0], np.float32)


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(milvus_uri: str, clock: Clock) -> AsyncIterator[MilvusStore]:
    async with MilvusStore(
        milvus_uri, clock=clock, sweep_interval=timedelta(milliseconds=50)
    ) as opened:
        assert await opened.wait_until_available(timedelta(seconds=30))
        yield opened


def record(name: str, written: timedelta) -> EntityRecord:
    return EntityRecord(
        id=name,
        item="item",
        vectors={"vector": VECTOR},
        attributes={"price": 1},
        write_time=START + written,
    )


async def mortal(
    store: MilvusStore, factory: Factory, *records: EntityRecord
) -> tuple[StoredCollection, StoredCollection]:
    """Return a collection with a ttl that is not published, so that nobody sweeps it, and without.

    Both are views of the same incarnation.
    """
    everlasting = await factory.create(factory.spec(attributes=(PRICE,)))
    async with store.exclusive("", everlasting):
        await store.upsert("", everlasting, records)
    settings = replace(everlasting.settings, ttl=TTL)
    return replace(everlasting, settings=settings), everlasting


async def seen(store: MilvusStore, collection: StoredCollection) -> list[set[str]]:
    """Return the ids that each kind of read finds."""
    where = check(parse("price = 1"), {"price": AttributeType.INT})
    got = await store.get("", collection, ["old", "new"], projection=Projection(), freshness=STRONG)
    reads = [set(got)]
    for each in (None, where):
        scanned = await store.scan(
            "", collection, limit=9, where=each, projection=Projection(), freshness=STRONG
        )
        found = await store.search(
            "",
            collection,
            "vector",
            VECTOR,
            limit=9,
            where=each,
            projection=Projection(),
            freshness=STRONG,
            params={},
        )
        reads += [{each.id for each in scanned}, {each.record.id for each in found}]
        assert await store.count("", collection, each) == len(reads[-1])
    by_item = await store.scan(
        "", collection, limit=9, items=["item"], projection=Projection(), freshness=STRONG
    )
    return [*reads, {each.id for each in by_item}]


async def test_no_read_finds_what_has_expired(
    store: MilvusStore, factory: Factory, clock: Clock
) -> None:
    collection, everlasting = await mortal(
        store, factory, record("old", timedelta(0)), record("new", timedelta(seconds=10))
    )
    for later, expected in (
        (99.9, {"old", "new"}),
        (100.0, {"new"}),
        (109.9, {"new"}),
        (110.0, set()),
    ):
        clock.now = START.timestamp() + later
        assert await seen(store, collection) == [expected] * 6, later
        assert await seen(store, everlasting) == [{"old", "new"}] * 6


async def test_expired_entities_are_removed_and_no_others(
    store: MilvusStore, factory: Factory, clock: Clock
) -> None:
    collection, everlasting = await mortal(
        store, factory, record("old", timedelta(0)), record("new", timedelta(seconds=10))
    )
    clock.now = START.timestamp() + 105
    assert await store.expire("", collection) == 1
    assert await store.count("", everlasting) == 1
    assert await store.expire("", collection) == 0
    assert set(
        await store.get("", everlasting, ["old", "new"], projection=Projection(), freshness=STRONG)
    ) == {"new"}


async def test_sweeping_goes_on_by_itself(
    store: MilvusStore, factory: Factory, clock: Clock
) -> None:
    """The ttl is a setting, and what has none is never swept."""
    collection, everlasting = await mortal(
        store, factory, record("old", timedelta(0)), record("new", timedelta(seconds=10))
    )
    clock.now = START.timestamp() + 105
    revised = replace(collection.settings, revision=1)
    assert (await store.revise("", everlasting, revised)).settings.ttl == TTL
    assert (await store.resolve("", everlasting.spec.id)).settings.ttl == TTL

    async def swept() -> bool:
        return await store.count("", everlasting) == 1

    await assert_eventually(swept)


async def test_times_come_back(store: MilvusStore, factory: Factory) -> None:
    written = record("old", timedelta(milliseconds=123))
    collection, _ = await mortal(store, factory, written)
    found = await store.get("", collection, ["old"], projection=Projection(), freshness=STRONG)
    assert found["old"].write_time == written.write_time
