"""UpdateEntity over gRPC, on Milvus Lite, and vectors that come from an attribute."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import collection_pb2, entity_pb2, entity_service_pb2
from lookalike.type.v1 import outcome_pb2, segment_pb2
from lookalike_common.errors import (
    ConcurrentChangeError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidContentError,
    NotFoundError,
)
from tests.support.search_client import (
    ATTRIBUTES,
    Attribute,
    SearchClient,
    by_text,
    by_vector,
    entity,
    failure,
    ids,
    outcomes,
    plain_field,
    upsert_error,
)
from tests.support.toy_encoder import TEXT, ToyEncoder, letters

TITLE = Attribute(name="title", type=Attribute.TYPE_STRING, nullable=True)
FROM_TITLE = collection_pb2.VectorField(encoder=TEXT, source_attribute="title")


async def update(client: SearchClient, changed: entity_pb2.Entity, *mask: str) -> entity_pb2.Entity:
    """Call UpdateEntity."""
    reply: entity_pb2.Entity = await client.entities.UpdateEntity(
        entity_service_pb2.UpdateEntityRequest(entity=changed, update_mask=FieldMask(paths=mask))
    )
    return reply


async def whole(client: SearchClient, name: str) -> entity_pb2.Entity:
    """Return an entity with its vectors and all the rest."""
    everything = ["attributes", "vectors", "text", "item", "asset", "segment", "source_uri"]
    return await client.get(
        name, output_fields=[*everything, "content_hash", "generation", "create_time"]
    )


def first_vector(found: entity_pb2.Entity, field: str = "vector") -> list[float]:
    return [float(each) for each in np.frombuffer(found.vectors[field].dense.data, "<f4")]


async def test_attributes_change_and_vectors_stay_bit_for_bit(client: SearchClient) -> None:
    name = await client.create(attributes=ATTRIBUTES)
    values = np.random.default_rng(7).standard_normal(3).astype(np.float32)
    written = entity(
        name,
        "e",
        *map(float, values),
        item="photo",
        asset="assets/" + "a" * 64,
        segment=segment_pb2.Segment(index=3),
        text="Text",
        source_uri="file:///a",
        attributes={"price": 5, "color": "red", "free": {"a": [1, 2]}},
    )
    await client.upsert(name, written)
    before = await whole(client, written.name)
    reply = await update(
        client, entity(name, "e", attributes={"price": 6, "color": None, "new": True})
    )
    assert dict(reply.attributes) == {"price": 6, "new": True, "free": {"a": [1, 2]}}
    assert not reply.vectors
    after = await whole(client, written.name)
    assert after.attributes == reply.attributes
    assert after.generation == reply.generation == before.generation + 1
    assert reply.update_time.ToNanoseconds() > reply.create_time.ToNanoseconds()
    for each in (before, after):
        each.ClearField("attributes")
        each.ClearField("generation")
    assert after == before
    assert await client.listed(name, filter="price = 6 AND new = true") == ["e"]
    assert await client.listed(name, filter="price = 5") == []
    assert ids((await client.search(name, by_vector(*map(float, values)))).hits) == ["e"]


async def test_a_mask_removes_what_the_entity_lacks(client: SearchClient) -> None:
    name = await client.create(attributes=ATTRIBUTES)
    await client.upsert(
        name, entity(name, "e", 1, 0, 0, text="old", attributes={"price": 5, "color": "red"})
    )
    reply = await update(client, entity(name, "e"), "attributes.color", "text")
    assert (dict(reply.attributes), reply.text) == ({"price": 5}, "")
    reply = await update(client, entity(name, "e", attributes={"sold": True}), "attributes")
    assert dict(reply.attributes) == {"sold": True}


@pytest.mark.feature("several-vectors")
async def test_nothing_is_encoded_but_what_changed(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(
        collection_pb2.VectorField(name="title", encoder=TEXT, source_attribute="title"),
        collection_pb2.VectorField(name="body", encoder=TEXT),
        plain_field(name="own"),
        attributes=[TITLE],
    )
    written = entity(name, "e", text_content="body", attributes={"title": "abba"})
    written.vectors["own"].dense.values.extend([1, 2, 3])
    assert outcomes(await client.upsert(name, written)) == [outcome_pb2.OUTCOME_CREATED]
    before = await whole(client, written.name)
    assert np.allclose(first_vector(before, "title"), letters("abba"))
    assert np.allclose(first_vector(before, "body"), letters("body"))
    toy_encoder.requests.clear()
    await update(client, entity(name, "e", attributes={"title": "abba", "other": 1}, text="x"))
    assert toy_encoder.requests == []
    await update(client, entity(name, "e", attributes={"title": "zz"}))
    [asked] = toy_encoder.requests
    assert [each.content.text for each in asked.items] == ["zz"]
    after = await whole(client, written.name)
    assert np.allclose(first_vector(after, "title"), letters("zz"))
    assert after.vectors["body"] == before.vectors["body"]
    assert after.vectors["own"] == before.vectors["own"]
    assert after.content_hash != before.content_hash
    changed = await update(client, entity(name, "e", text_content="other"), "content")
    assert changed.content_hash != after.content_hash
    assert np.allclose(first_vector(await whole(client, written.name), "body"), letters("other"))


async def test_an_update_has_the_generation_that_was_read(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, entity(name, "e", 1, 0, 0, attributes={"n": 0}))
    read = await client.get(f"{name}/entities/e")
    changed = entity(name, "e", attributes={"n": 1}, generation=read.generation)
    await update(client, changed)
    refused = await failure(update(client, changed))
    assert (type(refused), refused.field) == (ConcurrentChangeError, "entity.generation")


async def test_updates_at_once_lose_nothing(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, entity(name, "e", 1, 0, 0))
    keys = [f"k{number}" for number in range(24)]
    await asyncio.gather(
        *(update(client, entity(name, "e", attributes={key: key})) for key in keys),
        *(client.upsert(name, entity(name, f"other{key}", 1, 0, 0)) for key in keys),
    )
    assert sorted((await client.get(f"{name}/entities/e")).attributes) == sorted(keys)


async def test_an_entity_that_is_deleted_at_the_same_time_stays_deleted(
    client: SearchClient,
) -> None:
    name = await client.create()
    for number in range(8):
        each = f"e{number}"
        await client.upsert(name, entity(name, each, 1, 0, 0))
        await asyncio.gather(
            update(client, entity(name, each, attributes={"a": 1})),
            client.delete(name, names=[f"{name}/entities/{each}"]),
            return_exceptions=True,
        )
    assert await client.count(name) == 0


Case = tuple[dict[str, Any], tuple[str, ...], type[Exception], str]
REFUSED: dict[str, Case] = {
    "a field that stays": ({"item": "new"}, ("item",), InvalidArgumentError, "update_mask"),
    "a type": ({"attributes": {"price": "x"}}, (), InvalidArgumentError, "entity.attributes.price"),
    "a reserved name": (
        {"attributes": {"item": 1}},
        (),
        InvalidArgumentError,
        "entity.attributes.item",
    ),
    "no content": ({}, ("content",), InvalidArgumentError, "entity.content"),
    "a bad content": ({"text_content": "123"}, (), InvalidContentError, "entity.content"),
    "a bad title": (
        {"attributes": {"title": "1"}},
        (),
        InvalidContentError,
        "entity.attributes.title",
    ),
    "a title taken away": (
        {},
        ("attributes.title",),
        InvalidArgumentError,
        "entity.attributes.title",
    ),
    "unknown": ({"entity_id": "none", "text": "x"}, (), NotFoundError, ""),
}


@pytest.mark.feature("several-vectors")
@pytest.mark.parametrize("case", list(REFUSED))
async def test_a_refused_update_changes_nothing(client: SearchClient, case: str) -> None:
    fields, mask, kind, field = REFUSED[case]
    name = await client.create(
        collection_pb2.VectorField(name="title", encoder=TEXT, source_attribute="title"),
        collection_pb2.VectorField(name="body", encoder=TEXT),
        attributes=[TITLE, *ATTRIBUTES],
    )
    await client.upsert(
        name, entity(name, "e", text_content="body", attributes={"title": "a", "price": 1})
    )
    before = await whole(client, f"{name}/entities/e")
    changed = entity(name, **{"entity_id": "e", **fields})
    refused = await failure(update(client, changed, *mask))
    assert (type(refused), refused.field) == (kind, field), refused.message
    assert await whole(client, f"{name}/entities/e") == before


async def test_an_encoder_that_changed_is_refused(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(FROM_TITLE, attributes=[TITLE])
    await client.upsert(name, entity(name, "e", attributes={"title": "abc"}))
    toy_encoder.fingerprints[TEXT] = "cc" * 32
    refused = await failure(update(client, entity(name, "e", attributes={"title": "x"})))
    assert type(refused) is EncoderMismatchError
    reply = await update(client, entity(name, "e", attributes={"other": "x"}))
    assert reply.attributes["other"] == "x"


@pytest.mark.parametrize("source", ["title", "text"])
async def test_a_text_of_the_entity_is_encoded(client: SearchClient, source: str) -> None:
    field = collection_pb2.VectorField(encoder=TEXT, source_attribute=source)
    name = await client.create(field, attributes=[TITLE])

    def with_title(key: str, title: str) -> entity_pb2.Entity:
        if source == "text":
            return entity(name, key, text=title)
        return entity(name, key, attributes={"title": title})

    reply = await client.upsert(
        name, with_title("ab", "abab"), with_title("xy", "xyxy"), entity(name, "none")
    )
    assert [each.HasField("entity") for each in reply.results] == [True, True, False]
    assert upsert_error(reply.results[2]).violations[0].field == "entities[2].vectors.vector"
    assert ids((await client.search(name, by_text("xxyy"))).hits) == ["xy", "ab"]
    again = await client.upsert(name, with_title("ab", "abab"))
    assert outcomes(again) == [outcome_pb2.OUTCOME_UNCHANGED]
