"""Migrations from one encoder to another, by their rpcs: two sides, one of which answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    entity_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from lookalike.type.v1 import outcome_pb2
from lookalike_common.errors import (
    AlreadyExistsError,
    CollectionNotReadyError,
    ConcurrentChangeError,
    EncoderMismatchError,
    EtagMismatchError,
    InvalidArgumentError,
    NotFoundError,
)
from lookalike_common.server import GrpcServer
from lookalike_common.testing import assert_eventually, running
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.app import build
from lookalike_search.commands.comparing import Comparing, Differences
from lookalike_search.model import EntityRecord
from lookalike_search.settings import SearchSettings
from tests.integration.search.conftest import search_settings
from tests.support.search_client import (
    Attribute,
    SearchClient,
    by_entity,
    by_text,
    dense,
    entity,
    failure,
    ids,
    outcomes,
    plain_field,
    upsert_error,
)
from tests.support.toy_encoder import REVERSED, TEXT, ToyEncoder, letters

FACTS_AGE = timedelta(milliseconds=100)

EVERYTHING = (
    *("item", "text", "attributes", "vectors", "segment", "asset", "source_uri"),
    *("content_hash", "generation", "create_time", "update_time"),
)

Collection = collection_pb2.Collection
Migration = collection_pb2.Migration
VectorField = collection_pb2.VectorField
TEXT_FIELD = VectorField(encoder=TEXT)
TURNED = Collection(vector_fields=[VectorField(encoder=REVERSED)])


def quick(settings: SearchSettings, facts_age: timedelta = FACTS_AGE) -> SearchSettings:
    milvus = settings.milvus.model_copy(update={"facts_age": facts_age})
    return settings.model_copy(update={"milvus": milvus})


@pytest.fixture
async def search_server(milvus_uri: str, encoder_server: GrpcServer) -> AsyncIterator[GrpcServer]:
    async with running(build(quick(search_settings(milvus_uri, encoder_server.port)))) as server:
        yield server


async def start(client: SearchClient, name: str, **fields: Any) -> Collection:
    fields.setdefault("collection", TURNED)
    request = collection_service_pb2.StartMigrationRequest(name=name, **fields)
    reply: Collection = await client.collections.StartMigration(request)
    return reply


async def finish(client: SearchClient, name: str, **fields: Any) -> Collection:
    request = collection_service_pb2.FinishMigrationRequest(name=name, **fields)
    reply: Collection = await client.collections.FinishMigration(request)
    return reply


async def abort(client: SearchClient, name: str, **fields: Any) -> Collection:
    request = collection_service_pb2.AbortMigrationRequest(name=name, **fields)
    reply: Collection = await client.collections.AbortMigration(request)
    return reply


async def get(client: SearchClient, name: str) -> Collection:
    reply: Collection = await client.collections.GetCollection(
        collection_service_pb2.GetCollectionRequest(name=name)
    )
    return reply


async def search(
    client: SearchClient, name: str, query: search_service_pb2.Query, **options: Any
) -> search_service_pb2.SearchResponse:
    """Search in what is written already, whatever the Milvus."""
    return await client.search(
        name, query, consistency=search_service_pb2.CONSISTENCY_STRONG, **options
    )


async def stored(client: SearchClient, name: str) -> dict[str, entity_pb2.Entity]:
    """Return all entities with their vectors, by id."""
    request = entity_service_pb2.ListEntitiesRequest(
        collection=name, page_size=1000, output_fields=EVERYTHING
    )
    page = await client.entities.ListEntities(request)
    return {each.name.rpartition("/")[2]: each for each in page.entities}


def vector(found: entity_pb2.Entity) -> list[float]:
    return [float(each) for each in np.frombuffer(found.vectors["vector"].dense.data, "<f4")]


def text(name: str, entity_id: str, content: str, **fields: Any) -> entity_pb2.Entity:
    return entity(name, entity_id, text_content=content, **fields)


def copied(found: entity_pb2.Entity, target: str, content: str) -> entity_pb2.Entity:
    """Return what a backfill sends for an entity that it has read."""
    copy = entity_pb2.Entity(
        name=f"{target}/entities/{found.name.rpartition('/')[2]}",
        generation=found.generation,
        content_hash=found.content_hash,
    )
    copy.content.text = content
    return copy


CONTENTS = {"one": "aab", "two": "abb", "three": "xyz"}


@pytest.fixture
async def name(client: SearchClient) -> str:
    """Return a collection of three texts, encoded by TEXT."""
    name = await client.create(TEXT_FIELD)
    await client.upsert(name, *(text(name, key, value) for key, value in CONTENTS.items()))
    return name


async def backfill(client: SearchClient, name: str, target: str) -> None:
    found = await stored(client, name)
    copies = [copied(each, target, CONTENTS[key]) for key, each in found.items()]
    outcomes(await client.upsert(target, *copies))


async def test_the_life_of_a_migration(client: SearchClient, name: str) -> None:
    before = await get(client, name)
    begun = await start(client, name, etag=before.etag)
    assert (begun.name, begun.state, begun.entity_count) == (name, Collection.STATE_MIGRATING, 3)
    target = begun.migration.target
    assert target == f"{name}-next"
    assert begun.migration.phase == Migration.PHASE_COPYING
    assert begun.vector_fields[0].encoder == TEXT
    shadow = await get(client, target)
    assert (shadow.name, shadow.entity_count) == (target, 0)
    assert shadow.vector_fields[0].encoder == REVERSED

    await backfill(client, name, target)
    assert ids((await search(client, target, by_text("aab"))).hits)[0] == "one"
    assert (await search(client, target, by_text("aab"))).hits[0].score == pytest.approx(1)
    # The same entity, by its vector on the side that is searched.
    assert ids((await search(client, target, by_entity(name, "one"))).hits) == ["two", "three"]

    flipped = await finish(client, name, etag=begun.etag)
    assert (flipped.name, flipped.migration.phase) == (name, Migration.PHASE_FLIPPED)
    assert (flipped.migration.target, flipped.entity_count) == (target, 3)
    assert flipped.vector_fields[0].encoder == REVERSED
    assert (await get(client, target)).vector_fields[0].encoder == TEXT
    again = await failure(finish(client, name, etag=begun.etag))  # a repeated step is none
    assert type(again) is EtagMismatchError
    found = await stored(client, name)
    assert vector(found["one"]) == letters("aab")[::-1]
    assert ids((await search(client, name, by_text("aab"))).hits)[0] == "one"
    assert ids((await search(client, name, by_entity(name, "one"))).hits) == ["two", "three"]

    done = await finish(client, name, etag=flipped.etag)
    assert (done.state, done.HasField("migration")) == (Collection.STATE_READY, False)
    assert done.create_time == before.create_time
    assert type(await failure(get(client, target))) is NotFoundError
    assert set(await stored(client, name)) == set(CONTENTS)


async def test_writes_and_deletes_go_to_both_sides(
    client: SearchClient, name: str, toy_encoder: ToyEncoder
) -> None:
    target = (await start(client, name)).migration.target
    await backfill(client, name, target)
    reply = await client.upsert(
        name,
        text(name, "two", "bbc", attributes={"a": 1}),
        text(name, "new", "ccd"),
        text(name, "three", CONTENTS["three"]),
    )
    assert outcomes(reply) == [
        outcome_pb2.OUTCOME_UPDATED,
        outcome_pb2.OUTCOME_CREATED,
        outcome_pb2.OUTCOME_UNCHANGED,
    ]
    asked = len(toy_encoder.requests)
    confirmed = text(name, "three", CONTENTS["three"], generation=2**52)
    assert outcomes(await client.upsert(name, confirmed)) == [outcome_pb2.OUTCOME_UNCHANGED]
    assert (await stored(client, target))["three"].generation == 2**52
    assert len(toy_encoder.requests) == asked  # its vectors stay on both sides
    assert await client.delete(name, names=[f"{name}/entities/one"]) == 1
    change = entity_service_pb2.UpdateEntityRequest(
        entity=entity(name, "new", attributes={"color": "red"}),
        update_mask=FieldMask(paths=["attributes.color"]),
    )
    await client.entities.UpdateEntity(change)
    change = entity_service_pb2.UpdateEntityRequest(
        entity=text(name, "three", "zzz"), update_mask=FieldMask(paths=["content"])
    )
    await client.entities.UpdateEntity(change)

    here, there = await stored(client, name), await stored(client, target)
    assert set(here) == set(there) == {"two", "new", "three"}
    for key, content in {"two": "bbc", "new": "ccd", "three": "zzz"}.items():
        assert vector(here[key]) == letters(content)
        assert vector(there[key]) == letters(content)[::-1]
        for each in (here[key], there[key]):
            each.ClearField("vectors")
            each.ClearField("name")
        assert here[key] == there[key]
    assert there["new"].attributes["color"] == "red"
    asked = len(toy_encoder.requests)
    await client.upsert(name, text(name, "two", "bbc", attributes={"a": 1}))
    assert len(toy_encoder.requests) == asked  # in step on both sides: nothing to encode


async def test_a_write_that_was_long_under_way_goes_to_both_sides(
    client: SearchClient, name: str, toy_encoder: ToyEncoder
) -> None:
    """It resolved the collection before the start, and its encoder took until after it."""
    toy_encoder.gate = asyncio.Event()
    asked = len(toy_encoder.requests)
    writing = asyncio.create_task(client.upsert(name, text(name, "new", "ccd")))
    await assert_eventually(lambda: len(toy_encoder.requests) > asked)
    target = (await start(client, name)).migration.target
    toy_encoder.gate.set()
    assert outcomes(await writing) == [outcome_pb2.OUTCOME_CREATED]
    assert vector((await stored(client, target))["new"]) == letters("ccd")[::-1]


async def test_what_lacks_new_vectors_is_missing_and_never_stale(
    client: SearchClient, name: str
) -> None:
    target = (await start(client, name)).migration.target
    await backfill(client, name, target)
    brought = entity(name, "two")
    brought.vectors["vector"].CopyFrom(dense(*letters("bbc")))
    await client.upsert(name, brought)
    assert set(await stored(client, target)) == {"one", "three"}
    refused = await failure(finish(client, name))
    assert type(refused) is CollectionNotReadyError
    assert refused.metadata == {"missing": "1", "stale": "0"}
    assert (await get(client, name)).migration.phase == Migration.PHASE_COPYING
    found = await stored(client, name)
    outcomes(await client.upsert(target, copied(found["two"], target, "bbc")))
    assert (await finish(client, name)).migration.phase == Migration.PHASE_FLIPPED


async def test_a_gap_that_opens_right_before_the_flip(
    client: SearchClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = (await start(client, name)).migration.target
    await backfill(client, name, target)
    settle = Comparing.settle
    brought = entity(name, "two")
    brought.vectors["vector"].CopyFrom(dense(*letters("bbc")))

    async def settled_too_early(*args: Any) -> Differences:  # Any: as `settle`
        found = await settle(*args)
        monkeypatch.undo()
        await client.upsert(name, brought)
        return found

    monkeypatch.setattr(Comparing, "settle", settled_too_early)
    refused = await failure(finish(client, name))
    assert refused.metadata == {"missing": "1", "stale": "0"}
    assert (await get(client, name)).migration.phase == Migration.PHASE_COPYING


async def test_vectors_that_say_what_made_them_never_mix(
    client: SearchClient, name: str, toy_encoder: ToyEncoder
) -> None:
    target = (await start(client, name)).migration.target
    old, new = (toy_encoder.fingerprints[each] for each in (TEXT, REVERSED))

    def brought(collection: str, fingerprint: str) -> entity_service_pb2.UpsertEntitiesRequest:
        each = entity(collection, "two", generation=found["two"].generation + 1)
        each.vectors["vector"].CopyFrom(dense(*letters("bbc")))
        return entity_service_pb2.UpsertEntitiesRequest(
            collection=collection, entities=[each], encoder_fingerprints={"vector": fingerprint}
        )

    found = await stored(client, name)
    for collection, other in ((name, new), (target, old)):
        refused = await failure(client.entities.UpsertEntities(brought(collection, other)))
        assert (type(refused), refused.field) == (
            EncoderMismatchError,
            "encoder_fingerprints.vector",
        )
    await backfill(client, name, target)
    await finish(client, name)
    late = await failure(client.entities.UpsertEntities(brought(name, old)))
    assert type(late) is EncoderMismatchError
    assert vector((await stored(client, name))["two"]) == letters("abb")[::-1]
    reply = await client.entities.UpsertEntities(brought(name, new))
    assert outcomes(reply) == [outcome_pb2.OUTCOME_UPDATED]


async def test_an_encoder_that_is_away_makes_gaps_and_no_errors(
    client: SearchClient, name: str, toy_encoder: ToyEncoder
) -> None:
    target = (await start(client, name)).migration.target
    await backfill(client, name, target)
    toy_encoder.fingerprints[REVERSED] = "ee" * 32
    reply = await client.upsert(name, text(name, "two", "bbc"))
    assert outcomes(reply) == [outcome_pb2.OUTCOME_UPDATED]
    assert set(await stored(client, target)) == {"one", "three"}
    toy_encoder.fingerprints[REVERSED] = "dd" * 32
    reply = await client.upsert(name, text(name, "two", "bbc"))  # it is unchanged, and behind
    assert outcomes(reply) == [outcome_pb2.OUTCOME_UNCHANGED]
    assert vector((await stored(client, target))["two"]) == letters("bbc")[::-1]


async def test_a_backfill_is_of_what_the_collection_has(client: SearchClient, name: str) -> None:
    target = (await start(client, name)).migration.target
    old = await stored(client, name)
    await client.upsert(name, text(name, "one", "newer"))
    await client.delete(name, names=[f"{name}/entities/two"])
    without, unnamed, other = (copied(old["three"], target, "xyz") for _ in range(3))
    without.generation = 0
    unnamed.name = ""
    other.content_hash = "0" * 64
    late = copied(old["three"], target, "xyz")
    late.generation += 1
    reply = await client.upsert(target, copied(old["one"], target, "aab"))
    assert type(upsert_error(reply.results[0])) is ConcurrentChangeError
    for number, (copy, kind, field) in enumerate(
        [
            (copied(old["two"], target, "abb"), ConcurrentChangeError, "name"),
            (without, InvalidArgumentError, "generation"),
            (unnamed, InvalidArgumentError, "name"),
            (other, ConcurrentChangeError, "content_hash"),
            (late, ConcurrentChangeError, "generation"),
            (copied(old["three"], target, "123"), InvalidArgumentError, "content"),
        ]
    ):
        reply = await client.upsert(target, copy)
        error = upsert_error(reply.results[0])
        assert isinstance(error, kind), number
        assert error.field == f"entities[0].{field}", number
    right = copied(old["three"], target, "xyz")
    right.attributes.update({"of": "the backfiller"})
    right.text = right.source_uri = "of the backfiller"
    assert outcomes(await client.upsert(target, right)) == [outcome_pb2.OUTCOME_CREATED]
    assert outcomes(await client.upsert(target, right)) == [outcome_pb2.OUTCOME_UNCHANGED]
    there = await stored(client, target)
    assert set(there) == {"one", "three"}
    assert vector(there["one"]) == letters("newer")[::-1]
    for each in (old["three"], there["three"]):
        each.ClearField("name")
        each.ClearField("vectors")
    assert there["three"] == old["three"]


async def test_what_another_process_left_on_the_target(
    client: SearchClient, name: str, milvus_uri: str
) -> None:
    """As after deletes and writes there, right between a backfill's look and its write."""
    target = (await start(client, name)).migration.target
    await backfill(client, name, target)
    async with MilvusStore(milvus_uri) as store:
        assert await store.wait_until_available(timedelta(seconds=30))
        side = await store.resolve("", target.removeprefix("collections/"))
        unit = np.array(letters("zzz"), np.float32)
        old = EntityRecord(id="one", vectors={"vector": unit}, generation=1)
        async with store.exclusive("", side):
            await store.upsert("", side, [old, replace(old, id="gone")])
    refused = await failure(finish(client, name))
    assert refused.metadata == {"missing": "0", "stale": "1"}
    assert set(await stored(client, target)) == set(CONTENTS)  # what was gone is gone
    reply = await client.upsert(name, text(name, "one", CONTENTS["one"]))
    assert outcomes(reply) == [outcome_pb2.OUTCOME_UNCHANGED]  # and yet the target gets it
    assert (await finish(client, name)).entity_count == 3
    assert vector((await stored(client, name))["one"]) == letters("aab")[::-1]


async def test_abort_before_the_flip(client: SearchClient, name: str) -> None:
    target = (await start(client, name)).migration.target
    await client.upsert(name, text(name, "new", "ccd"))
    back = await abort(client, name)
    assert (back.state, back.HasField("migration")) == (Collection.STATE_READY, False)
    assert back.vector_fields[0].encoder == TEXT
    assert type(await failure(get(client, target))) is NotFoundError
    assert set(await stored(client, name)) == {*CONTENTS, "new"}
    assert (await start(client, name)).migration.target == target


async def test_abort_after_the_flip_loses_nothing(client: SearchClient, name: str) -> None:
    target = (await start(client, name)).migration.target
    await backfill(client, name, target)
    await finish(client, name)
    await client.upsert(name, text(name, "new", "ccd"))
    await client.delete(name, names=[f"{name}/entities/one"])
    brought = entity(name, "brought")
    brought.vectors["vector"].CopyFrom(dense(*letters("eef")[::-1]))
    await client.upsert(name, brought)
    refused = await failure(abort(client, name))
    assert type(refused) is CollectionNotReadyError
    assert refused.metadata == {"missing": "1", "stale": "0"}
    found = await stored(client, name)
    outcomes(await client.upsert(target, copied(found["brought"], target, "eef")))
    back = await abort(client, name)
    assert back.vector_fields[0].encoder == TEXT
    here = await stored(client, name)
    assert set(here) == {"two", "three", "new", "brought"}
    assert vector(here["new"]) == letters("ccd")
    assert type(await failure(get(client, target))) is NotFoundError


async def test_abort_by_force(client: SearchClient, name: str) -> None:
    target = (await start(client, name)).migration.target
    await backfill(client, name, target)
    await finish(client, name)
    brought = entity(name, "brought")
    brought.vectors["vector"].CopyFrom(dense(*letters("eef")))
    await client.upsert(name, brought)
    assert (await abort(client, name, force=True)).entity_count == 3
    assert set(await stored(client, name)) == set(CONTENTS)


async def test_a_migration_can_keep_the_encoder(
    client: SearchClient, name: str, toy_encoder: ToyEncoder
) -> None:
    """For another index, or typed attributes: vectors that are brought are of use on both sides."""
    attributes = [Attribute(name="price", type=Attribute.TYPE_INT, filterable=True, nullable=True)]
    begun = await start(client, name, collection=Collection(attributes=attributes))
    target = begun.migration.target
    shadow = await get(client, target)
    assert list(shadow.attributes) == attributes
    assert shadow.vector_fields[0].encoder_fingerprint == toy_encoder.fingerprints[TEXT]
    brought = entity(name, "two", attributes={"price": 7})
    brought.vectors["vector"].CopyFrom(dense(*letters("bbc")))
    await client.upsert(name, brought)
    assert vector((await stored(client, target))["two"]) == letters("bbc")
    await client.upsert(name, text(name, "two", "bbc", attributes={"price": "many"}))
    assert await stored(client, target) == {}  # it does not fit the new schema


@pytest.mark.feature("partition-key")
async def test_what_the_schema_leaves_out_is_as_it_was(client: SearchClient) -> None:
    shop = Attribute(name="shop", type=Attribute.TYPE_STRING, filterable=True)
    name = await client.create(TEXT_FIELD, attributes=[shop], partition_key="shop")
    later = Attribute(name="later", type=Attribute.TYPE_INT, filterable=True, nullable=True)
    change = Collection(name=name, attributes=[shop, later])
    await client.collections.UpdateCollection(
        collection_service_pb2.UpdateCollectionRequest(
            collection=change, update_mask=FieldMask(paths=["attributes"])
        )
    )
    before = await get(client, name)
    target = (await start(client, name, collection=None)).migration.target
    await client.upsert(name, text(name, "one", "aab", attributes={"shop": "x", "later": 3}))
    flipped = await finish(client, name)
    for facts in (flipped, await get(client, target)):
        assert list(facts.attributes) == [shop, later]
        assert facts.partition_key == "shop"
        assert facts.vector_fields[0].encoder_fingerprint == (
            before.vector_fields[0].encoder_fingerprint
        )
    assert await client.count(name, "later = 3") == await client.count(target, "later = 3") == 1


async def test_a_deleted_collection_takes_its_target_along(client: SearchClient, name: str) -> None:
    target = (await start(client, name)).migration.target
    delete = client.collections.DeleteCollection
    by_target = collection_service_pb2.DeleteCollectionRequest(name=target)
    assert type(await failure(delete(by_target))) is CollectionNotReadyError
    await delete(collection_service_pb2.DeleteCollectionRequest(name=name))
    for each in (name, target):
        assert type(await failure(get(client, each))) is NotFoundError
    await client.create(TEXT_FIELD, collection_id=target.removeprefix("collections/"))


async def test_refused(client: SearchClient, name: str) -> None:
    plain = await client.create(plain_field())
    own = await client.create(TEXT_FIELD, collection_id="x" * 60)
    for request, kind, field in (
        ({"name": "collections/none"}, NotFoundError, ""),
        ({"name": plain}, EncoderMismatchError, "name"),
        ({"name": own}, InvalidArgumentError, "target_id"),
        ({"name": name, "etag": "old"}, EtagMismatchError, "etag"),
        ({"name": name, "target_id": "A"}, InvalidArgumentError, "target_id"),
        (
            {"name": name, "target_id": plain.removeprefix("collections/")},
            AlreadyExistsError,
            "target_id",
        ),
        (
            {"name": name, "collection": Collection(vector_fields=[plain_field()])},
            InvalidArgumentError,
            "collection.vector_fields[0].encoder",
        ),
        (
            {"name": name, "collection": Collection(description="of another kind")},
            InvalidArgumentError,
            "collection.description",
        ),
        (
            {
                "name": name,
                "collection": Collection(vector_fields=[VectorField(encoder="encoders/none")]),
            },
            NotFoundError,
            "",
        ),
    ):
        error = await failure(start(client, **request))
        assert (type(error), error.field) == (kind, field), error.message
        assert (await get(client, name)).state == Collection.STATE_READY
    for step in (finish, abort):
        assert type(await failure(step(client, name))) is CollectionNotReadyError
        assert type(await failure(step(client, "collections/none"))) is NotFoundError
    release = collection_service_pb2.ReleaseCollectionRequest(name=name)
    await client.collections.ReleaseCollection(release)
    assert type(await failure(start(client, name))) is CollectionNotReadyError
    load = collection_service_pb2.LoadCollectionRequest(name=name)
    await client.collections.LoadCollection(load)
    target = (await start(client, name)).migration.target
    for call in (
        start(client, name),
        client.entities.UpdateEntity(
            entity_service_pb2.UpdateEntityRequest(entity=text(target, "one", "a"))
        ),
    ):
        assert type(await failure(call)) is CollectionNotReadyError
    for step in (start, finish, abort):
        error = await failure(step(client, target))
        assert (type(error), error.field) == (InvalidArgumentError, "name")
