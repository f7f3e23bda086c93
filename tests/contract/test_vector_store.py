"""What every `VectorStore` must do. Set LOOKALIKE_TEST_MILVUS_URI to try another Milvus."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lookalike_common.errors import AlreadyExistsError, EtagMismatchError, NotFoundError
from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.filters import CheckedExpression, check, parse
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    Consistency,
    EntityRecord,
    IndexSpec,
    IndexType,
    JsonValue,
    Metric,
    Projection,
    StoredCollection,
    Vector,
)
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.vectors import vector_bytes

if TYPE_CHECKING:
    from tests.contract.conftest import Factory

STRONG = Freshness(consistency=Consistency.STRONG)
EVERYTHING = Projection(vectors=frozenset({"vector"}))
NOW = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
ATTRIBUTES = (
    AttributeSpec(name="color", type=AttributeType.STRING, filterable=True, nullable=True),
    AttributeSpec(name="price", type=AttributeType.INT, filterable=True, nullable=True),
    AttributeSpec(name="weight", type=AttributeType.DOUBLE, filterable=True, nullable=True),
    AttributeSpec(name="sold", type=AttributeType.BOOL, filterable=True, nullable=True),
    AttributeSpec(name="taken", type=AttributeType.TIMESTAMP, filterable=True, nullable=True),
    AttributeSpec(name="tags", type=AttributeType.STRING_LIST, nullable=True),
)
HOSTILE = (
    'he said "no"',
    "back\\slash",
    'both \\" of them',
    "line\nbreak\ttab\rreturn",
    "percent % and _ under",
    "' OR 1 == 1 --",
    '"] or true or id in ["',
    "\u2028 ünïcödé 漢字 🦊 \x00\x07",
    "{item} ${item} %s",
)


def unit(*components: float) -> Vector:
    vector = np.array(components, np.float32)
    return vector / np.linalg.norm(vector)


def record(number: int, vector: Vector | None = None, **fields: Any) -> EntityRecord:
    plain = EntityRecord(
        id=f"e{number:05d}",
        item=f"item-{number // 2}",
        vectors={"vector": unit(1, number, 0, 0) if vector is None else vector},
        content_hash=f"{number:064x}",
        generation=number + 1,
        create_generation=1,
        create_time=NOW,
        update_time=NOW,
    )
    return replace(plain, **fields)


def where(text: str, collection: StoredCollection) -> CheckedExpression:
    return check(parse(text), {each.name: each.type for each in collection.spec.attributes})


async def write(
    store: VectorStore, collection: StoredCollection, records: Sequence[EntityRecord]
) -> None:
    async with store.exclusive("", collection):
        await store.upsert("", collection, records)


async def read(
    store: VectorStore, collection: StoredCollection, *ids: str
) -> dict[str, EntityRecord]:
    return await store.get("", collection, ids, projection=EVERYTHING, freshness=STRONG)


async def find(
    store: VectorStore,
    collection: StoredCollection,
    vector: Vector,
    *,
    limit: int = 10,
    filter_text: str = "",
) -> list[tuple[str, float, float | None]]:
    neighbors = await store.search(
        "",
        collection,
        "vector",
        vector,
        limit=limit,
        where=where(filter_text, collection) if filter_text else None,
        projection=Projection(),
        freshness=STRONG,
        params={"ef": 64},
    )
    return [(each.record.id, each.score, each.distance) for each in neighbors]


# --- collections -------------------------------------------------------------------------------


async def test_says_what_it_is(store: VectorStore) -> None:
    assert store.capabilities.backend.startswith("milvus")
    assert store.capabilities.max_window >= 10_000


async def test_created_collection_is_resolved_with_all_its_facts(
    store: VectorStore, factory: Factory
) -> None:
    spec = factory.spec(attributes=ATTRIBUTES)
    created = await factory.create(spec)
    resolved = await store.resolve("", spec.id)
    assert resolved == created
    assert resolved.spec == spec
    assert resolved.settings.labels == {"a": "b"}
    assert spec.id in await store.list_ids("")


async def test_unknown_collection(store: VectorStore, collection_id: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await store.resolve("", collection_id)
    assert caught.value.resource_name == f"collections/{collection_id}"
    assert collection_id not in await store.list_ids("")


async def test_second_creation_is_refused_and_harmless(
    store: VectorStore, factory: Factory
) -> None:
    first = await factory.create()
    await write(store, first, [record(1)])
    with pytest.raises(AlreadyExistsError):
        await factory.create()
    assert await store.resolve("", first.spec.id) == first
    assert await store.count("", first) == 1


async def test_of_creators_at_the_same_time_one_wins(store: VectorStore, factory: Factory) -> None:
    attempts = await asyncio.gather(
        *(factory.create(factory.spec()) for _ in range(5)), return_exceptions=True
    )
    won = [each for each in attempts if isinstance(each, StoredCollection)]
    lost = [each for each in attempts if isinstance(each, AlreadyExistsError)]
    assert (len(won), len(lost)) == (1, 4)
    assert await store.resolve("", won[0].spec.id) == won[0]
    await write(store, won[0], [record(1)])


async def test_dropped_collection_is_gone_with_its_entities(
    store: VectorStore, factory: Factory
) -> None:
    first = await factory.create()
    await write(store, first, [record(1)])
    await store.drop("", first)
    await store.drop("", first)
    with pytest.raises(NotFoundError):
        await store.resolve("", first.spec.id)
    second = await factory.create(factory.spec())
    assert await store.count("", second) == 0
    with pytest.raises(NotFoundError):
        await store.count("", first)
    with pytest.raises(NotFoundError):
        await write(store, first, [record(2)])
    assert await store.count("", second) == 0


async def test_dropping_an_old_incarnation_spares_the_new_one(
    store: VectorStore, factory: Factory
) -> None:
    first = await factory.create()
    await store.drop("", first)
    second = await factory.create(factory.spec())
    await store.drop("", first)
    assert await store.resolve("", second.spec.id) == second


async def test_settings_are_revised_one_after_the_other(
    store: VectorStore, factory: Factory
) -> None:
    created = await factory.create()
    attempts = await asyncio.gather(
        *(store.revise("", created, factory.settings(1, f"try {i}")) for i in range(4)),
        return_exceptions=True,
    )
    won = [each for each in attempts if isinstance(each, StoredCollection)]
    lost = [each for each in attempts if isinstance(each, EtagMismatchError)]
    assert (len(won), len(lost)) == (1, 3)
    assert await store.resolve("", created.spec.id) == won[0]
    assert won[0].etag != created.etag
    last = await store.revise("", won[0], factory.settings(2, "last"))
    assert (await store.resolve("", created.spec.id)).settings == last.settings


async def test_a_stale_change_is_refused_although_its_number_is_free_again(
    store: VectorStore, factory: Factory
) -> None:
    created = await factory.create()
    one = await store.revise("", created, factory.settings(1, "one"))
    two = await store.revise("", one, factory.settings(2, "two"))
    with pytest.raises(EtagMismatchError):
        await store.revise("", created, factory.settings(1, "stale"))
    assert await store.resolve("", created.spec.id) == two
    three = await store.revise("", two, factory.settings(3, "three"))
    assert await store.resolve("", created.spec.id) == three


async def test_settings_do_not_outlive_their_collection(
    store: VectorStore, factory: Factory
) -> None:
    first = await factory.create()
    await store.revise("", first, factory.settings(1, "old"))
    await store.drop("", first)
    second = await factory.create(factory.spec())
    assert (await store.resolve("", second.spec.id)).settings.description == ""


async def test_tenants_do_not_see_each_other(store: VectorStore, factory: Factory) -> None:
    mine = await factory.create(factory.spec(), tenant="acme")
    theirs = await factory.create(factory.spec(), tenant="Ümlaut & Co/../x")
    async with store.exclusive("acme", mine):
        await store.upsert("acme", mine, [record(1)])
    assert await store.count("acme", mine) == 1
    assert await store.count("Ümlaut & Co/../x", theirs) == 0
    with pytest.raises(NotFoundError):
        await store.resolve("", mine.spec.id)
    with pytest.raises(NotFoundError):
        await store.resolve("nobody", mine.spec.id)
    with pytest.raises(NotFoundError):
        await store.count("nobody", mine)
    assert await store.list_ids("nobody") == []
    assert mine.spec.id not in await store.list_ids("")


# --- entities ----------------------------------------------------------------------------------


async def test_entity_comes_back_as_it_was_written(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create(factory.spec(attributes=ATTRIBUTES))
    attributes: dict[str, JsonValue] = {
        "color": "red",
        "price": 2**62 + 1,
        "weight": 0.1,
        "sold": False,
        "taken": "2026-01-31T12:00:00.000000Z",
        "tags": ["a", "b"],
        "free": {"deep": [1, 2.5, {"x": "y"}], "exact": 2**53 + 1},
    }
    written = record(
        7,
        vector=np.array([0.1, -2.5e-8, 3.4e38, 1 / 3], np.float32),
        asset="f" * 64,
        segment={"box": {"x": 1, "y": 2, "width": 3, "height": 4}, "index": 3},
        text="Ein Text\nmit Zeilen",
        attributes=attributes,
        generation=1_763_964_000_123_456,
        create_generation=3,
        confirmed=True,
        source_uri="file:///photos/ä.jpg",
    )
    await write(store, collection, [written])
    found = (await read(store, collection, written.id))[written.id]
    assert vector_bytes(found.vectors["vector"]) == vector_bytes(written.vectors["vector"])
    assert replace(found, vectors={}) == replace(written, vectors={})


async def test_upsert_replaces_the_whole(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create(factory.spec(attributes=ATTRIBUTES))
    await write(store, collection, [record(1, attributes={"color": "red"}, text="old")])
    await write(store, collection, [record(1, attributes={"price": 3})])
    found = (await read(store, collection, "e00001"))["e00001"]
    assert (found.attributes, found.text) == ({"price": 3}, "")
    assert await store.count("", collection) == 1
    assert await store.count("", collection, where("color:*", collection)) == 0


async def test_get_reads_what_is_there_and_what_is_asked(
    store: VectorStore, factory: Factory
) -> None:
    collection = await factory.create()
    await write(store, collection, [record(i, text="long") for i in range(3)])
    found = await store.get(
        "",
        collection,
        ["e00002", "missing", "e00000"],
        projection=Projection(text=False, attributes=False, system=False),
        freshness=STRONG,
    )
    assert set(found) == {"e00000", "e00002"}
    assert found["e00002"] == EntityRecord(id="e00002", item="item-1", content_hash=f"{2:064x}")
    assert await read(store, collection) == {}


async def test_scan_pages_are_complete_and_sorted(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    order = np.random.default_rng(1).permutation(1500)
    for part in np.array_split(order, 5):
        await write(store, collection, [record(int(i)) for i in part])
    seen: list[str] = []
    while True:
        page = await store.scan(
            "",
            collection,
            limit=400,
            after=seen[-1] if seen else "",
            projection=Projection(text=False, attributes=False, system=False),
            freshness=STRONG,
        )
        seen += [each.id for each in page]
        if len(page) < 400:
            break
    assert seen == [f"e{i:05d}" for i in range(1500)]


async def test_scan_by_item_and_filter(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create(factory.spec(attributes=ATTRIBUTES))
    await write(store, collection, [record(i, attributes={"price": i}) for i in range(10)])
    found = await store.scan(
        "",
        collection,
        limit=100,
        items=["item-1", "item-3", "no such item"],
        where=where("price > 2", collection),
        projection=Projection(),
        freshness=STRONG,
    )
    assert [each.id for each in found] == ["e00003", "e00006", "e00007"]


async def test_counts_are_true_at_once(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create(factory.spec(attributes=ATTRIBUTES))
    await write(store, collection, [record(i, attributes={"price": i}) for i in range(20)])
    await write(store, collection, [record(i, attributes={"price": 1}) for i in range(10)])
    assert await store.count("", collection) == 20
    assert await store.count("", collection, where("price = 1", collection)) == 10
    async with store.exclusive("", collection):
        await store.delete("", collection, ["e00000", "e00019", "missing"])
    assert await store.count("", collection) == 18
    assert await read(store, collection, "e00000", "e00019") == {}


async def test_deleted_entities_can_come_back(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    for _ in range(3):
        await write(store, collection, [record(1)])
        assert await find(store, collection, unit(1, 1, 0, 0)) != []
        async with store.exclusive("", collection):
            await store.delete("", collection, ["e00001"])
        assert await find(store, collection, unit(1, 1, 0, 0)) == []


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_are_only_texts(
    store: VectorStore, factory: Factory, text: str
) -> None:
    collection = await factory.create(factory.spec(attributes=ATTRIBUTES))
    hostile = record(1, item=text, text=text, attributes={"color": text, "free": text})
    await write(store, collection, [hostile, record(2, attributes={"color": "x", "free": "x"})])
    found = await store.scan(
        "", collection, limit=10, items=[text], projection=Projection(), freshness=STRONG
    )
    assert [replace(each, vectors=hostile.vectors) for each in found] == [hostile]


async def test_hostile_ids_are_only_ids(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    ids = ['a"b', "a\\b", "a\\", "'x'", "a]or[true", "%", "_", "!", "~"]
    await write(store, collection, [replace(record(i), id=each) for i, each in enumerate(ids)])
    assert set(await read(store, collection, *ids)) == set(ids)
    async with store.exclusive("", collection):
        await store.delete("", collection, ids[:4])
    page = await store.scan(
        "", collection, limit=10, after="%", projection=Projection(), freshness=STRONG
    )
    assert [each.id for each in page] == sorted(ids[4:])[2:]


async def test_a_large_batch_is_written_whole(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create(factory.spec(dimensions=1024))
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((300, 1024), np.float32)
    records = [
        record(i, vector=vectors[i], text="x" * 60_000) for i in range(300)
    ]  # 19 MB: more than one write carries
    await write(store, collection, records)
    assert await store.count("", collection) == 300
    found = await read(store, collection, "e00000", "e00299")
    assert vector_bytes(found["e00299"].vectors["vector"]) == vectors[299].tobytes()


async def test_writers_wait_for_each_other(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()

    async def add_one() -> None:
        async with store.exclusive("", collection):
            stored = await read(store, collection, "e00001")
            count = stored["e00001"].generation if stored else 0
            await store.upsert("", collection, [record(1, generation=count + 1)])

    await asyncio.gather(*(add_one() for _ in range(20)))
    assert (await read(store, collection, "e00001"))["e00001"].generation == 20


async def test_a_cancelled_write_ends_before_the_next_begins(
    store: VectorStore, factory: Factory
) -> None:
    collection = await factory.create()
    begun = asyncio.Event()

    async def write_old() -> None:
        async with store.exclusive("", collection):
            begun.set()
            await store.upsert("", collection, [record(1, text="old")])

    task = asyncio.create_task(write_old())
    await begun.wait()
    task.cancel()
    await write(store, collection, [record(1, text="new")])
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await read(store, collection, "e00001"))["e00001"].text == "new"


# --- search ------------------------------------------------------------------------------------

METRICS = {
    Metric.COSINE: lambda q, v: 1 - float(q @ v / np.linalg.norm(q) / np.linalg.norm(v)),
    Metric.INNER_PRODUCT: lambda q, v: -float(q @ v),
    Metric.EUCLIDEAN: lambda q, v: float(np.linalg.norm(q - v)),
}
SCORES = {
    Metric.COSINE: lambda distance: 1 - distance,
    Metric.INNER_PRODUCT: lambda distance: -distance,
    Metric.EUCLIDEAN: lambda distance: 1 / (1 + distance),
}


@pytest.mark.parametrize("index", [IndexType.AUTO, IndexType.HNSW])
@pytest.mark.parametrize("metric", list(METRICS))
async def test_nearest_by_each_metric(
    store: MilvusStore, factory: Factory, metric: Metric, index: IndexType
) -> None:
    """Scores and distances mean the same before and after the rows are flushed."""
    collection = await factory.create(
        factory.spec(metric=metric, dimensions=8, index=IndexSpec(type=index))
    )
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((600, 8), np.float32)
    query = rng.standard_normal(8).astype(np.float32)
    await write(store, collection, [record(i, vector=vectors[i]) for i in range(500)])
    await write(store, collection, [record(i, vector=vectors[i]) for i in range(500, 600)])
    expected = sorted((METRICS[metric](query, vectors[i]), f"e{i:05d}") for i in range(600))[:10]
    for _ in range(2):
        found = await find(store, collection, query)
        assert [each for each, _, _ in found] == [each for _, each in expected]
        for (_, score, distance), (wanted, _) in zip(found, expected, strict=True):
            assert distance is not None
            assert math.isclose(distance, wanted, rel_tol=1e-4, abs_tol=1e-5)
            assert math.isclose(score, SCORES[metric](wanted), rel_tol=1e-4, abs_tol=1e-5)
        await assert_eventually(lambda: not store.has_unflushed_rows)


async def test_equal_scores_come_by_id(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    same = unit(1, 2, 3, 4)
    await write(store, collection, [record(i, vector=same) for i in (5, 3, 9, 1)])
    found = await find(store, collection, same)
    assert [each for each, _, _ in found] == ["e00001", "e00003", "e00005", "e00009"]
    assert all(math.isclose(score, 1.0, abs_tol=1e-6) for _, score, _ in found)


async def test_search_with_a_filter(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create(factory.spec(attributes=ATTRIBUTES))
    records = [
        record(i, attributes={"price": i, "color": "red" if i % 2 else "blue", "tags": [f"t{i}"]})
        for i in range(50)
    ]
    await write(store, collection, [*records, record(60)])
    query = unit(1, 30, 0, 0)
    for text, wanted in {
        'color = "red" AND price < 6': {1, 3, 5},
        'price >= 48 OR tags:"t7"': {7, 48, 49},
        "NOT price:*": {60},
        'item = "item-4"': {8, 9},
        'create_time > "2026-02-01T00:00:00Z"': set(),
    }.items():
        found = await find(store, collection, query, filter_text=text)
        assert {each for each, _, _ in found} == {f"e{i:05d}" for i in wanted}, text


async def test_search_returns_what_is_asked(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    await write(store, collection, [record(1, text="text", attributes={"a": 1})])
    [neighbor] = await store.search(
        "",
        collection,
        "vector",
        unit(1, 1, 0, 0),
        limit=5,
        projection=EVERYTHING,
        freshness=STRONG,
        params={},
    )
    assert neighbor.record.text == "text"
    assert neighbor.record.attributes == {"a": 1}
    assert vector_bytes(neighbor.record.vectors["vector"]) == vector_bytes(unit(1, 1, 0, 0))


async def test_search_of_an_empty_collection(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    assert await find(store, collection, unit(1, 0, 0, 0)) == []


async def test_a_wide_window(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    for start in range(0, 3000, 500):
        await write(store, collection, [record(i) for i in range(start, start + 500)])
    found = await find(store, collection, unit(1, 0, 0, 0), limit=10_000)
    assert [each for each, _, _ in found][:3] == ["e00000", "e00001", "e00002"]
    assert len(found) == 3000


async def test_read_your_writes(store: VectorStore, factory: Factory) -> None:
    collection = await factory.create()
    for number in range(5):
        async with store.exclusive("", collection):
            position = await store.upsert("", collection, [record(number)])
        neighbors = await store.search(
            "",
            collection,
            "vector",
            unit(1, number, 0, 0),
            limit=10,
            projection=Projection(),
            freshness=Freshness(position=position),
            params={},
        )
        assert f"e{number:05d}" in {each.record.id for each in neighbors}


async def test_searches_at_the_same_time_get_their_own_answers(
    store: VectorStore, factory: Factory
) -> None:
    collection = await factory.create(factory.spec(attributes=ATTRIBUTES, dimensions=16))
    rng = np.random.default_rng(9)
    vectors = rng.standard_normal((400, 16), np.float32)
    await write(
        store,
        collection,
        [record(i, vector=vectors[i], attributes={"price": i}) for i in range(400)],
    )
    asked = [
        (number, limit, filter_text)
        for number in range(20)
        for limit, filter_text in ((5, ""), (7, "price >= 200"))
    ]

    async def ask(number: int, limit: int, filter_text: str) -> list[str]:
        found = await find(store, collection, vectors[number], limit=limit, filter_text=filter_text)
        return [each for each, _, _ in found]

    alone = [await ask(*each) for each in asked]
    together = await asyncio.gather(*(ask(*each) for each in asked))
    assert together == alone
    assert [each[0] for each in alone[::2]] == [f"e{i:05d}" for i in range(20)]
