"""What every `VectorStore` must do with binary vectors: rank exactly as brute force does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.filters import check, parse
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    Bits,
    CollectionSpec,
    Consistency,
    EntityRecord,
    IndexSpec,
    Metric,
    Neighbor,
    Projection,
    StoredCollection,
    VectorFieldSpec,
    VectorKind,
)
from lookalike_search.store import Freshness

if TYPE_CHECKING:
    from tests.contract.conftest import Factory

STRONG = Freshness(consistency=Consistency.STRONG)
PRICE = AttributeSpec(name="price", type=AttributeType.INT, filterable=True)
METRICS = [Metric.TANIMOTO, Metric.HAMMING]


def bits_spec(factory: Factory, metric: Metric, dimensions: int) -> CollectionSpec:
    field = VectorFieldSpec(
        name="vector", dimensions=dimensions, metric=metric, kind=VectorKind.BINARY
    )
    return replace(factory.spec(attributes=(PRICE,)), vector_fields=(field,))


def random_bits(count: int, dimensions: int, seed: int, share: float = 0.2) -> list[Bits]:
    """Return bits of which a share is set, at least one of each."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0, 2 * share, (count, 1))  # of very different numbers of bits
    matrix = rng.random((count, dimensions)) < shares
    matrix[:, 0] |= ~matrix.any(axis=1)
    packed = np.packbits(matrix, axis=1, bitorder="little")
    return [Bits(each.tobytes(), dimensions) for each in packed]


def records(vectors: Sequence[Bits]) -> list[EntityRecord]:
    return [
        EntityRecord(id=f"e{i:05d}", item="i", vectors={"vector": each}, attributes={"price": i})
        for i, each in enumerate(vectors)
    ]


def score(metric: Metric, first: Bits, second: Bits) -> float:
    a, b = (int.from_bytes(each.data) for each in (first, second))
    if metric is Metric.HAMMING:
        return 1 - (a ^ b).bit_count() / first.size
    return (a & b).bit_count() / (a | b).bit_count()


def ranking(metric: Metric, query: Bits, vectors: Sequence[Bits]) -> list[tuple[str, float]]:
    scored = sorted((-score(metric, query, each), i) for i, each in enumerate(vectors))
    return [(f"e{i:05d}", -negative) for negative, i in scored]


async def find(
    store: MilvusStore, collection: StoredCollection, query: Bits, limit: int, where: str = ""
) -> list[Neighbor]:
    return await store.search(
        "",
        collection,
        "vector",
        query,
        limit=limit,
        where=check(parse(where), {"price": AttributeType.INT}) if where else None,
        projection=Projection(text=False, attributes=False, system=False),
        freshness=STRONG,
        params={},
    )


async def write(
    store: MilvusStore, collection: StoredCollection, some: Sequence[EntityRecord]
) -> None:
    async with store.exclusive("", collection):
        await store.upsert("", collection, some)


def check_ranking(found: Sequence[Neighbor], expected: Sequence[tuple[str, float]]) -> None:
    """Assert equal scores and ids; of equals at the very end any may be there."""
    assert [each.score for each in found] == [each for _, each in expected]
    last = expected[-1][1]
    decided = [each for each in expected if each[1] > last]
    assert [each.record.id for each in found][: len(decided)] == [each for each, _ in decided]


@pytest.mark.parametrize("dimensions", [12, 256])
@pytest.mark.parametrize("metric", METRICS)
async def test_ranking_is_that_of_brute_force(
    store: MilvusStore, factory: Factory, metric: Metric, dimensions: int
) -> None:
    """Before and after the rows are flushed, with and without a filter."""
    collection = await factory.create(bits_spec(factory, metric, dimensions))
    vectors = random_bits(600, dimensions, seed=5)
    await write(store, collection, records(vectors))
    for _ in range(2):
        for query in random_bits(8, dimensions, seed=6):
            everything = ranking(metric, query, vectors)
            for limit in (1, 10, 100):
                found = await find(store, collection, query, limit)
                check_ranking(found, everything[:limit])
            some = [each for each in everything if each[0] >= "e00400"]
            found = await find(store, collection, query, 20, where="price >= 400")
            check_ranking(found, some[:20])
        await assert_eventually(lambda: not store.has_unflushed_rows)
    whole = await find(store, collection, vectors[0], 1000)
    assert [each.record.id for each in whole] == [
        each for each, _ in ranking(metric, vectors[0], vectors)
    ]


@pytest.mark.parametrize("metric", METRICS)
async def test_bits_come_back_as_they_were_written(
    store: MilvusStore, factory: Factory, metric: Metric
) -> None:
    collection = await factory.create(bits_spec(factory, metric, 100))
    vectors = [*random_bits(20, 100, seed=1), Bits(b"\xff" * 12 + b"\x0f", 100)]
    await write(store, collection, records(vectors))
    whole = Projection(vectors=frozenset({"vector"}))
    ids = [each.id for each in records(vectors)]
    found = await store.get("", collection, ids, projection=whole, freshness=STRONG)
    assert [found[each].vectors["vector"] for each in ids] == vectors
    [neighbor] = await store.search(
        "",
        collection,
        "vector",
        vectors[20],
        limit=1,
        projection=whole,
        freshness=STRONG,
        params={},
    )
    assert neighbor.record.vectors["vector"] == vectors[20]
    assert (neighbor.score, neighbor.distance) == (1.0, 0.0)


async def test_ranking_out_of_small_windows(
    store: MilvusStore, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Milvus that returns few hits at once is asked for parts, with the filter on top."""
    collection = await factory.create(bits_spec(factory, Metric.TANIMOTO, 128))
    rng = np.random.default_rng(3)
    chosen = np.argsort(rng.random((300, 128)), axis=1) < rng.choice([16, 17, 32], (300, 1))
    packed = np.packbits(chosen, axis=1, bitorder="little")  # the numbers at which parts end
    vectors = [Bits(each.tobytes(), 128) for each in packed]
    await write(store, collection, records(vectors))
    dialect = store._known_dialect()
    small = replace(dialect.capabilities, max_window=12)
    monkeypatch.setattr(store, "_dialect", replace(dialect, capabilities=small))
    for query in vectors[:6]:
        everything = ranking(Metric.TANIMOTO, query, vectors)
        check_ranking(await find(store, collection, query, 12), everything[:12])
        some = [each for each in everything if each[0] >= "e00150"]
        found = await find(store, collection, query, 12, where="price >= 150 OR price < 0")
        check_ranking(found, some[:12])


@pytest.mark.parametrize("metric", METRICS)
async def test_other_bits_replace_the_old_ones(
    store: MilvusStore, factory: Factory, metric: Metric
) -> None:
    collection = await factory.create(bits_spec(factory, metric, 64))
    few, many = Bits(b"\x01" + b"\x00" * 7, 64), Bits(b"\xff" * 8, 64)
    await write(store, collection, records([few]))
    await write(store, collection, records([many]))
    [neighbor] = await find(store, collection, many, 5)
    assert neighbor.score == 1.0


async def test_no_bits_at_all_have_a_hamming_distance(store: MilvusStore, factory: Factory) -> None:
    collection = await factory.create(bits_spec(factory, Metric.HAMMING, 64))
    nothing, some = Bits(b"\x00" * 8, 64), Bits(b"\x07" + b"\x00" * 7, 64)
    await write(store, collection, records([nothing, some]))
    found = await find(store, collection, nothing, 5)
    assert [(each.record.id, each.distance) for each in found] == [("e00000", 0), ("e00001", 3)]


async def test_searches_at_the_same_time_get_their_own_answers(
    store: MilvusStore, factory: Factory
) -> None:
    collection = await factory.create(bits_spec(factory, Metric.TANIMOTO, 128))
    vectors = random_bits(300, 128, seed=8)
    await write(store, collection, records(vectors))
    queries = random_bits(30, 128, seed=9)
    answers = await asyncio.gather(*(find(store, collection, each, 7) for each in queries))
    for query, found in zip(queries, answers, strict=True):
        check_ranking(found, ranking(Metric.TANIMOTO, query, vectors)[:7])


async def test_each_index_finds_what_is_there(store: MilvusStore, factory: Factory) -> None:
    vectors = random_bits(300, 64, seed=2)
    for index in sorted(store.capabilities.bit_index_types):
        for metric in METRICS:
            spec = bits_spec(factory, metric, 64)
            spec = replace(
                spec,
                id=f"{spec.id}-{metric}-{index}".replace("_", "-"),
                vector_fields=(replace(spec.vector_fields[0], index=IndexSpec(type=index)),),
            )
            collection = await factory.create(spec)
            await write(store, collection, records(vectors))
            [neighbor] = await find(store, collection, vectors[17], 1)
            assert neighbor.score == 1.0
