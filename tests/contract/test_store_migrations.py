"""The store's part in a migration: a collection has two sides, and one of them answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from lookalike_common.errors import (
    AlreadyExistsError,
    ConcurrentChangeError,
    EtagMismatchError,
    NotFoundError,
)
from lookalike_search.adapters.milvus import MilvusStore, publishing
from lookalike_search.model import (
    CollectionSpec,
    EntityRecord,
    Metric,
    Projection,
    StoredCollection,
    VectorFieldSpec,
)
from tests.contract.conftest import Factory
from tests.contract.test_vector_store import STRONG, find, read, record, unit, write
from tests.support.milvus_lite import MilvusLite

WIDE = VectorFieldSpec(
    name="vector",
    dimensions=6,
    metric=Metric.EUCLIDEAN,
    encoder="encoders/wide@1",
    fingerprint="cd" * 32,
)


def wide(spec: CollectionSpec) -> CollectionSpec:
    return replace(spec, vector_fields=(WIDE,))


def widened(plain: EntityRecord) -> EntityRecord:
    return replace(plain, vectors={"vector": np.arange(6, dtype=np.float32)})


async def started(
    store: MilvusStore, collection: StoredCollection
) -> tuple[StoredCollection, StoredCollection]:
    """Start a migration and return both sides, as their names resolve."""
    spec = collection.spec
    answer = await store.start_migration("", collection, wide(spec), f"{spec.id}-next")
    live = await store.resolve("", spec.id)
    assert answer == live
    return live, await store.resolve("", f"{spec.id}-next")


async def ids(store: MilvusStore, side: StoredCollection) -> list[str]:
    found = await store.scan("", side, limit=99, projection=Projection(), freshness=STRONG)
    return [each.id for each in found]


async def is_missing(answer: Awaitable[object]) -> bool:
    try:
        await answer
    except NotFoundError:
        return True
    return False


async def test_a_migration_gives_a_collection_another_side(
    store: MilvusStore, factory: Factory
) -> None:
    created = await factory.create()
    await write(store, created, [record(1)])
    live, target = await started(store, created)
    assert (live.id, live.storage, live.spec) == (created.spec.id, created.storage, created.spec)
    assert (target.id, target.spec) == (f"{created.spec.id}-next", wide(created.spec))
    assert live.other is not None
    assert target.other is not None
    assert (live.other.storage, target.other.storage) == (target.storage, live.storage)
    assert (live.is_shadow, target.is_shadow) == (False, True)
    assert (live.is_flipped, target.is_flipped) == (False, False)
    assert live.etag == target.etag != created.etag
    assert (await ids(store, live), await ids(store, target)) == (["e00001"], [])
    assert target.id not in await store.list_ids("")


async def test_what_is_written_goes_to_both_sides(store: MilvusStore, factory: Factory) -> None:
    live, target = await started(store, await factory.create())
    both, here = record(1), record(2)
    async with store.exclusive("", live):
        await store.upsert("", target, [widened(here)])
        await store.upsert("", live, [both, here], mirrored=[widened(both)])
    assert (await ids(store, live), await ids(store, target)) == (["e00001", "e00002"], ["e00001"])
    assert (await read(store, target, both.id))[both.id].vectors["vector"].size == 6
    async with store.exclusive("", live):
        await store.upsert("", live, [], mirrored=[widened(here)])
        await store.delete("", live, [both.id])
    assert (await ids(store, live), await ids(store, target)) == (["e00002"], ["e00002"])
    async with store.exclusive("", target):
        await store.delete("", target, [here.id])
    assert (await ids(store, live), await ids(store, target)) == (["e00002"], [])


async def test_writers_of_either_side_wait_for_each_other(
    store: MilvusStore, factory: Factory
) -> None:
    live, target = await started(store, await factory.create())
    inside = 0

    async def work(side: StoredCollection) -> None:
        nonlocal inside
        async with store.exclusive("", side):
            inside += 1
            assert inside == 1
            await store.count("", side)
            inside -= 1

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(side) for side in [live, target] * 5))


async def test_turning_is_one_step_and_can_be_taken_back(
    store: MilvusStore, factory: Factory
) -> None:
    live, target = await started(store, await factory.create())
    one = record(1)
    async with store.exclusive("", live):
        await store.upsert("", live, [one], mirrored=[widened(one)])
    turned = await store.turn_migration("", live)
    assert turned == await store.resolve("", live.spec.id)
    assert (turned.storage, turned.spec) == (target.storage, target.spec)
    assert turned.is_flipped
    assert turned.etag != live.etag
    behind = await store.resolve("", target.id)
    assert (behind.storage, behind.is_shadow, behind.is_flipped) == (live.storage, True, True)
    assert [each for each, _, _ in await find(store, behind, unit(1, 1, 0, 0))] == ["e00001"]
    with pytest.raises(ConcurrentChangeError):
        await store.turn_migration("", live)  # as somebody who did not see it yet
    back = await store.turn_migration("", turned)
    assert back == live


@pytest.mark.parametrize("turn", [False, True])
async def test_the_end_drops_the_side_that_does_not_answer(
    store: MilvusStore, factory: Factory, turn: bool
) -> None:
    live, target = await started(store, await factory.create())
    if turn:
        live = await store.turn_migration("", live)
    assert live.other is not None
    dropped = live.other.storage
    await store.set_alias("", f"{live.spec.id}-alias", live.spec.id)
    ended = await store.end_migration("", live)
    assert ended == await store.resolve("", live.spec.id)
    assert (ended.storage, ended.other, ended.settings.migration) == (live.storage, None, None)
    assert await is_missing(store.resolve("", target.id))
    assert await is_missing(store.count("", replace(live, storage=dropped)))
    assert (await store.resolve("", f"{live.spec.id}-alias")).storage == live.storage
    assert (await store.end_migration("", ended)) == ended
    await write(store, ended, [])
    await store.delete_alias("", f"{live.spec.id}-alias")
    await started(store, ended)
    await store.drop("", await store.resolve("", live.spec.id))


async def test_of_two_migrations_at_the_same_time_one_starts(
    store: MilvusStore, factory: Factory
) -> None:
    created = await factory.create()
    answers = await asyncio.gather(
        *(
            store.start_migration("", created, wide(created.spec), f"{created.spec.id}-{number}")
            for number in range(3)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, StoredCollection) for each in answers) == 1
    assert sum(isinstance(each, EtagMismatchError) for each in answers) == 2
    live = await store.resolve("", created.spec.id)
    names = await store._metadata.names("")
    prefix = live.storage.rpartition("_V")[0]
    assert sum(name.startswith(f"{prefix}_V") for name in names) == 2


async def test_the_target_s_name_must_be_free(store: MilvusStore, factory: Factory) -> None:
    created = await factory.create()
    other = await factory.create(factory.spec(collection_id=f"{created.spec.id}-next"))
    with pytest.raises(AlreadyExistsError) as caught:
        await store.start_migration("", created, wide(created.spec), other.spec.id)
    assert caught.value.field == "target_id"
    assert await store.resolve("", created.spec.id) == created
    assert await store.resolve("", other.spec.id) == other


async def test_a_name_that_a_migration_gave_is_taken(store: MilvusStore, factory: Factory) -> None:
    _live, target = await started(store, await factory.create())
    with pytest.raises(AlreadyExistsError):
        await factory.create(factory.spec(collection_id=target.id))
    with pytest.raises(AlreadyExistsError):
        await store.set_alias("", target.id, _live.spec.id)
    with pytest.raises(NotFoundError):
        await store.set_alias("", "any", target.id)


@pytest.mark.parametrize("turn", [False, True])
async def test_a_deleted_collection_is_gone_with_both_sides(
    store: MilvusStore, factory: Factory, turn: bool
) -> None:
    live, target = await started(store, await factory.create())
    seen = live
    if turn:
        await store.turn_migration("", live)
    await store.drop("", seen)
    for each in (live.spec.id, target.id):
        assert await is_missing(store.resolve("", each))
    for side in (live, target):
        assert await is_missing(store.count("", side))
    again = await factory.create(factory.spec())
    assert (again.settings.migration, await store.count("", again)) == (None, 0)


@pytest.mark.parametrize("turn", [False, True])
async def test_tidying_leaves_both_sides_alone(
    store: MilvusStore, factory: Factory, monkeypatch: pytest.MonkeyPatch, turn: bool
) -> None:
    tenant = "tidysides"
    created = await factory.create(tenant=tenant)
    spec = created.spec
    live = await store.start_migration(tenant, created, wide(spec), f"{spec.id}-next")
    if turn:
        live = await store.turn_migration(tenant, live)
    monkeypatch.setattr(publishing, "ABANDONED", timedelta(0))
    await store._publishing.tidy(tenant)
    assert await store.resolve(tenant, spec.id) == live
    ended = await store.end_migration(tenant, live)
    monkeypatch.setattr(store._metadata, "drop", _nothing)
    left = await store.start_migration(tenant, ended, wide(spec), f"{spec.id}-next")
    assert left.other is not None
    await store.end_migration(tenant, left)  # as one that is killed before it drops
    monkeypatch.undo()
    monkeypatch.setattr(publishing, "ABANDONED", timedelta(0))
    await store._publishing.tidy(tenant)
    assert await is_missing(store.count(tenant, replace(left.other, other=None)))
    assert await store.count(tenant, ended) == 0
    await store.drop(tenant, await store.resolve(tenant, spec.id))


async def _nothing(*_given: object) -> None:
    """Stand in for a call that a killed process did not make any more."""


# --- killed in the middle ----------------------------------------------------------------------

CHANGES = frozenset(
    {
        *("CreateCollection", "CreateIndex", "LoadCollection", "DropCollection"),
        *("CreateAlias", "AlterAlias", "DropAlias"),
    }
)
"""Calls by which Milvus is another one than before."""


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_after(store: MilvusStore, changes: int, patch: pytest.MonkeyPatch) -> None:
    """Have no call reach Milvus any more after so many changes."""
    call = store._connection.call
    left = changes

    async def last_calls(name: str, *args: Any, **kwargs: Any) -> Any:  # Any: as `call`
        nonlocal left
        if left == 0:
            raise KilledError(name)
        left -= name in CHANGES
        return await call(name, *args, **kwargs)

    patch.setattr(store._connection, "call", last_calls)


Step = Callable[[MilvusStore, StoredCollection], Awaitable[StoredCollection]]


async def fill(store: MilvusStore, collection: StoredCollection, one: EntityRecord) -> None:
    """Give the other side an entity, with the vector that fits there."""
    other = collection.other
    assert other is not None
    fitting = widened(one) if other.spec.vector_fields == (WIDE,) else one
    async with store.exclusive("", collection):
        await store.upsert("", other, [fitting])


async def _start(store: MilvusStore, collection: StoredCollection) -> StoredCollection:
    spec = collection.spec
    return await store.start_migration("", collection, wide(spec), f"{spec.id}-next")


async def _turn(store: MilvusStore, collection: StoredCollection) -> StoredCollection:
    return await store.turn_migration("", collection)


async def _end(store: MilvusStore, collection: StoredCollection) -> StoredCollection:
    return await store.end_migration("", collection)


@pytest.mark.parametrize(
    ("before", "step"),
    [
        pytest.param([], _start, id="start"),
        pytest.param([_start], _turn, id="turn"),
        pytest.param([_start], _end, id="end"),
        pytest.param([_start, _turn], _end, id="end-flipped"),
    ],
)
async def test_killed_after_any_change_a_migration_can_go_on_or_back(
    milvus_lite: MilvusLite,
    before: Sequence[Step],
    step: Step,
) -> None:
    """Only on Milvus Lite, where some hundred creations are quick; they were tried on 2.3.5 too."""
    async with MilvusStore(milvus_lite.uri) as store:
        assert await store.wait_until_available(timedelta(seconds=30))
        factory = Factory(store, "")
        one = record(1)
        for number in range(20):
            created = await factory.create(
                factory.spec(collection_id=f"killed-{os.getpid()}-{number}")
            )
            spec = created.spec
            await write(store, created, [one])
            now = created
            for each in before:
                now = await each(store, now)
                await fill(store, now, one)
            async with MilvusStore(milvus_lite.uri) as dying:
                assert await dying.wait_until_available(timedelta(seconds=30))
                with pytest.MonkeyPatch.context() as patch:
                    kill_after(dying, number, patch)
                    try:
                        await step(dying, now)
                    except KilledError:
                        survived = False
                    else:
                        survived = True

            found = await store.resolve("", spec.id)
            assert await ids(store, found) == ["e00001"]
            migration = found.settings.migration
            if migration is not None:  # forward, then back: each must work
                await fill(store, found, one)
                turned = await store.turn_migration("", found)
                assert await ids(store, turned) == ["e00001"]
                found = await store.end_migration("", await store.turn_migration("", turned))
            again = await _start(store, found)
            ended = await store.end_migration("", again)
            assert (await ids(store, ended), ended.storage) == (["e00001"], found.storage)
            await store.drop("", ended)
            assert await is_missing(store.resolve("", f"{spec.id}-next"))
            if survived:
                return
        raise AssertionError("it never came through")
