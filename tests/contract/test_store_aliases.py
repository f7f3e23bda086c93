"""Aliases of a `VectorStore`: names that move, whoever else moves them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lookalike_common.errors import (
    AlreadyExistsError,
    CollectionNotReadyError,
    EtagMismatchError,
    NotFoundError,
)
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.adapters.milvus.names import alias_name
from lookalike_search.model import Alias, Consistency, EntityRecord, Projection, StoredCollection
from lookalike_search.store import Freshness, VectorStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.contract.conftest import Factory


async def make(factory: Factory, store: VectorStore, *suffixes: str) -> list[StoredCollection]:
    """Create collections, each with one entity that is called like it."""
    made = []
    for each in suffixes:
        plain = factory.spec()
        collection = await factory.create(factory.spec(collection_id=f"{plain.id}-{each}"))
        async with store.exclusive("", collection):
            vector = np.array([1, 0, 0, 0], np.float32)
            await store.upsert("", collection, [EntityRecord(id=each, vectors={"vector": vector})])
        made.append(collection)
    return made


async def found(store: VectorStore, name: str) -> list[str]:
    """Search through whatever name; return the ids that are found."""
    collection = await store.resolve("", name)
    neighbors = await store.search(
        "",
        collection,
        "vector",
        np.array([1, 0, 0, 0], np.float32),
        limit=2,
        projection=Projection(),
        freshness=Freshness(consistency=Consistency.STRONG),
        params={},
    )
    return [each.record.id for each in neighbors]


async def aliases_of(store: VectorStore, collections: Sequence[StoredCollection]) -> list[Alias]:
    ids = {each.spec.id for each in collections}
    return [each for each in await store.list_aliases("") if each.collection_id in ids]


async def test_an_alias_is_another_name_and_moves(store: VectorStore, factory: Factory) -> None:
    one, two = await make(factory, store, "one", "two")
    alias = f"{one.spec.id}-best"
    first = await store.set_alias("", alias, one.spec.id)
    assert (first.collection_id, first.previous_collection_id) == (one.spec.id, "")
    assert await store.resolve("", alias) == one
    assert alias not in await store.list_ids("")
    assert await store.set_alias("", alias, one.spec.id) == first  # nothing to do
    second = await store.set_alias("", alias, two.spec.id, first.etag)
    assert (second.collection_id, second.previous_collection_id) == (two.spec.id, one.spec.id)
    assert second.etag != first.etag
    assert await found(store, alias) == ["two"]
    assert await aliases_of(store, [one, two]) == [second]
    back = await store.set_alias("", alias, second.previous_collection_id)
    assert await found(store, alias) == ["one"]
    with pytest.raises(EtagMismatchError):
        await store.delete_alias("", alias, second.etag)
    await store.delete_alias("", alias, back.etag)
    assert await aliases_of(store, [one, two]) == []
    with pytest.raises(NotFoundError) as caught:
        await store.delete_alias("", alias)
    assert caught.value.resource_name == f"aliases/{alias}"
    with pytest.raises(NotFoundError):
        await store.resolve("", alias)
    assert await found(store, one.spec.id) == ["one"]


async def test_names_are_shared_with_collections(store: VectorStore, factory: Factory) -> None:
    one, two = await make(factory, store, "one", "two")
    with pytest.raises(AlreadyExistsError):
        await store.set_alias("", two.spec.id, one.spec.id)
    assert await store.resolve("", two.spec.id) == two
    with pytest.raises(NotFoundError) as caught:
        await store.set_alias("", f"{one.spec.id}-a", "no-such-collection")
    assert caught.value.resource_name == "collections/no-such-collection"
    alias = f"{one.spec.id}-a"
    await store.set_alias("", alias, one.spec.id)
    with pytest.raises(AlreadyExistsError):
        await factory.create(factory.spec(collection_id=alias))
    assert await found(store, alias) == ["one"]
    with pytest.raises(NotFoundError):
        await store.delete_alias("", one.spec.id)
    await store.delete_alias("", alias)
    assert (await factory.create(factory.spec(collection_id=alias))).spec.id == alias


async def test_an_etag_is_for_one_change_only(store: VectorStore, factory: Factory) -> None:
    one, two = await make(factory, store, "one", "two")
    alias = f"{one.spec.id}-a"
    with pytest.raises(EtagMismatchError):
        await store.set_alias("", alias, one.spec.id, "an etag of nothing")
    first = await store.set_alias("", alias, one.spec.id)
    await store.set_alias("", alias, two.spec.id, first.etag)
    with pytest.raises(EtagMismatchError):
        await store.set_alias("", alias, one.spec.id, first.etag)
    assert await found(store, alias) == ["two"]
    await store.delete_alias("", alias)
    again = await store.set_alias("", alias, one.spec.id)
    assert again.etag != first.etag
    await store.delete_alias("", alias)


async def test_a_collection_with_aliases_stays(store: VectorStore, factory: Factory) -> None:
    [one] = await make(factory, store, "one")
    alias = f"{one.spec.id}-a"
    await store.set_alias("", alias, one.spec.id)
    with pytest.raises(CollectionNotReadyError, match=alias):
        await store.drop("", one)
    assert await found(store, alias) == ["one"]
    await store.delete_alias("", alias)
    await store.drop("", one)
    with pytest.raises(NotFoundError):
        await store.set_alias("", alias, one.spec.id)
    assert await aliases_of(store, [one]) == []


async def test_of_movers_with_one_etag_one_wins(store: VectorStore, factory: Factory) -> None:
    one, two, three = await make(factory, store, "one", "two", "three")
    alias = f"{one.spec.id}-a"
    first = await store.set_alias("", alias, one.spec.id)
    attempts = await asyncio.gather(
        *(store.set_alias("", alias, each.spec.id, first.etag) for each in [two, three] * 10),
        return_exceptions=True,
    )
    won = [each for each in attempts if isinstance(each, Alias)]
    assert {type(each) for each in attempts} == {Alias, EtagMismatchError}
    assert len(won) == 1
    assert await aliases_of(store, [one, two, three]) == won
    assert (await store.resolve("", alias)).spec.id == won[0].collection_id
    await store.delete_alias("", alias)


async def test_movers_in_two_processes_agree_in_the_end(
    store: VectorStore, factory: Factory, other_store: MilvusStore
) -> None:
    """Two stores know nothing of each other; what the record says is what the name stands for."""
    one, two = await make(factory, store, "one", "two")
    alias = f"{one.spec.id}-a"
    await store.set_alias("", alias, one.spec.id)
    moves = [
        where.set_alias("", alias, which.spec.id)
        for where, which in [(store, one), (other_store, two)] * 10
    ]
    attempts = await asyncio.gather(*moves, return_exceptions=True)
    assert any(isinstance(each, Alias) for each in attempts)
    [listed] = await aliases_of(store, [one, two])
    moved = {each.etag: each for each in attempts if isinstance(each, Alias)}
    assert moved[listed.etag] == listed  # the newest record and the name agree
    assert (await other_store.resolve("", alias)).spec.id == listed.collection_id
    await store.delete_alias("", alias)


async def test_a_stale_record_loses_although_its_number_is_free_again(
    store: MilvusStore, factory: Factory
) -> None:
    one, two = await make(factory, store, "one", "two")
    alias = f"{one.spec.id}-a"
    await store.set_alias("", alias, one.spec.id)
    stale = await store._aliases._newest("", alias)
    assert stale is not None
    await store.set_alias("", alias, two.spec.id)
    last = await store.set_alias("", alias, one.spec.id)
    again = replace(stale, number=stale.number + 1, collection_id=two.spec.id)
    assert not await store._aliases._store("", alias, again)
    assert await aliases_of(store, [one, two]) == [last]
    await store.delete_alias("", alias)


async def test_who_is_overtaken_leaves_what_the_last_one_wanted(
    store: MilvusStore,
    factory: Factory,
    other_store: MilvusStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process moves the alias on, between the record of a move and the move."""
    one, two, three = await make(factory, store, "one", "two", "three")
    alias = f"{one.spec.id}-a"
    await store.set_alias("", alias, one.spec.id)
    alter = store._metadata.alter_alias
    last: list[Alias] = []

    async def late(tenant: str, name: str, storage: str) -> bool:
        if not last:
            last.append(await other_store.set_alias("", alias, three.spec.id))
        return await alter(tenant, name, storage)

    monkeypatch.setattr(store._metadata, "alter_alias", late)
    await store.set_alias("", alias, two.spec.id)
    assert await found(other_store, alias) == ["three"]
    assert await aliases_of(store, [one, two, three]) == last
    await store.delete_alias("", alias)


async def test_the_name_of_a_migration_is_no_alias(store: MilvusStore, factory: Factory) -> None:
    """It is a Milvus alias as well, but nobody set it."""
    one, two = await make(factory, store, "one", "two")
    name = f"{one.spec.id}-next"
    assert await store._metadata.create_alias("", alias_name(name), one.storage)
    with pytest.raises(AlreadyExistsError):
        await store.set_alias("", name, two.spec.id)
    with pytest.raises(NotFoundError):
        await store.delete_alias("", name)
    assert await found(store, name) == ["one"]
    assert await aliases_of(store, [one, two]) == []
    await store._metadata.drop_alias("", alias_name(name))


async def test_a_move_that_was_cut_short_is_carried_through(
    store: MilvusStore, factory: Factory
) -> None:
    """Killed between the record and the move: the next change finds the way."""
    one, two = await make(factory, store, "one", "two")
    alias = f"{one.spec.id}-a"
    await store.set_alias("", alias, one.spec.id)
    present = await store._aliases._newest("", alias)
    assert present is not None
    cut = replace(present, number=present.number + 1, collection_id=two.spec.id, time=0.0)
    assert await store._aliases._store("", alias, cut)
    [listed] = await aliases_of(store, [one, two])
    assert listed.collection_id == one.spec.id  # what searches find
    await store._aliases.tidy("")
    assert await found(store, alias) == ["two"]
    assert (await store.set_alias("", alias, one.spec.id)).previous_collection_id == two.spec.id
    await store.delete_alias("", alias)


async def test_one_id_for_an_alias_and_a_collection_at_once(
    store: VectorStore, factory: Factory, other_store: MilvusStore
) -> None:
    [one] = await make(factory, store, "one")
    for number in range(4):
        contested = f"{one.spec.id}-c{number}"
        spec = factory.spec(collection_id=contested)
        attempts = await asyncio.gather(
            factory.create(spec),
            other_store.set_alias("", contested, one.spec.id),
            return_exceptions=True,
        )
        created, aliased = attempts
        resolved = await store.resolve("", contested)
        if isinstance(created, StoredCollection):
            assert isinstance(aliased, AlreadyExistsError)
            assert resolved == created
            assert contested in await store.list_ids("")
        else:
            assert isinstance(created, AlreadyExistsError)
            assert isinstance(aliased, Alias)
            assert resolved == one
            await store.delete_alias("", contested)
        assert await aliases_of(store, [one]) == []
