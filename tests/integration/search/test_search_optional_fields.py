"""Entities that lack some of their collection's vectors: pictures here, sounds and bits there."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    entity_pb2,
    entity_service_pb2,
)
from lookalike.type.v1 import content_pb2, outcome_pb2, vector_pb2
from lookalike_common.errors import InvalidArgumentError, LookalikeError
from tests.support.search_client import (
    SearchClient,
    bits,
    bits_field,
    by_entity,
    by_text,
    by_vector,
    dense,
    entity,
    failure,
    ids,
    outcomes,
    plain_field,
    upsert_error,
)
from tests.support.toy_encoder import IMAGE, TEXT, ToyEncoder

pytestmark = pytest.mark.feature("several-vectors")


def optional(field: collection_pb2.VectorField) -> collection_pb2.VectorField:
    field.optional = True
    return field


def lacking(
    collection: str, key: str, *, picture: tuple[float, ...] = (), word: bytes = b""
) -> entity_pb2.Entity:
    message = entity(collection, key, attributes={"kind": "word" if word else "picture"})
    if picture:
        message.vectors["picture"].CopyFrom(dense(*picture))
    if word:
        message.vectors["word"].CopyFrom(bits(word))
    return message


async def filled(client: SearchClient) -> str:
    """Return a collection of two pictures, two words and one of both."""
    name = await client.create(
        optional(plain_field(name="picture")), optional(bits_field(name="word", dimensions=16))
    )
    wrote = await client.upsert(
        name,
        lacking(name, "p1", picture=(1, 0, 0)),
        lacking(name, "p2", picture=(0.9, 0.1, 0)),
        lacking(name, "w1", word=b"\x01\x00"),
        lacking(name, "w2", word=b"\x03\x00"),
        lacking(name, "both", picture=(0, 1, 0), word=b"\xf0\x0f"),
    )
    assert outcomes(wrote) == [outcome_pb2.OUTCOME_CREATED] * 5
    return name


async def test_a_search_finds_only_what_has_its_vector(client: SearchClient) -> None:
    name = await filled(client)
    # (1, 0, 0) and the lowest bit are also what stands for no vector in the store
    pictures = await client.search(name, by_vector(1, 0, 0, vector_field="picture"))
    assert ids(pictures.hits) == ["p1", "p2", "both"]
    words = by_vector(vector_field="word")
    words.vector.CopyFrom(bits(b"\x01\x00"))
    assert ids((await client.search(name, words)).hits) == ["w1", "w2", "both"]
    query = by_vector(1, 0, 0, vector_field="picture")
    some = await client.search(name, query, filter='kind = "word"', top_k=2)
    assert ids(some.hits) == ["both"]


async def test_what_an_entity_lacks_is_not_in_it(client: SearchClient) -> None:
    name = await filled(client)
    found = {
        key: await client.get(f"{name}/entities/{key}", output_fields=["vectors"])
        for key in ("p1", "w1", "both")
    }
    assert {key: sorted(each.vectors) for key, each in found.items()} == {
        "p1": ["picture"],
        "w1": ["word"],
        "both": ["picture", "word"],
    }
    error = await failure(client.search(name, by_entity(name, "w1", vector_field="picture")))
    assert isinstance(error, InvalidArgumentError)
    assert error.field == "queries[0].entity"


async def test_a_repeated_write_is_unchanged_and_another_vector_is_a_change(
    client: SearchClient,
) -> None:
    name = await filled(client)
    again = await client.upsert(name, lacking(name, "p1", picture=(1, 0, 0)))
    assert outcomes(again) == [outcome_pb2.OUTCOME_UNCHANGED]
    more = await client.upsert(name, lacking(name, "p1", picture=(1, 0, 0), word=b"\x01\x00"))
    assert outcomes(more) == [outcome_pb2.OUTCOME_UPDATED]
    query = by_vector(vector_field="word")
    query.vector.CopyFrom(bits(b"\x01\x00"))
    assert "p1" in ids((await client.search(name, query)).hits)
    update = entity_service_pb2.UpdateEntityRequest(
        entity=entity(name, "w1", source_uri="elsewhere"),
        update_mask=FieldMask(paths=["source_uri"]),
    )
    await client.entities.UpdateEntity(update)
    kept = await client.get(f"{name}/entities/w1", output_fields=["vectors"])
    assert sorted(kept.vectors) == ["word"]


async def test_content_goes_where_it_is_understood(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(
        optional(collection_pb2.VectorField(name="picture", encoder=IMAGE)),
        optional(collection_pb2.VectorField(name="words", encoder=TEXT)),
    )
    picture = entity(name, "a", content=content_pb2.Content(image=b"apple"))
    words = entity(name, "b", text_content="apple")
    assert len(outcomes(await client.upsert(name, picture, words))) == 2
    assert {each.encoder for each in toy_encoder.requests} == {IMAGE, TEXT}
    assert ids((await client.search(name, by_text("apple", vector_field="words"))).hits) == ["b"]
    (refused,) = (
        await client.upsert(name, entity(name, "c", content=content_pb2.Content(smiles="CC")))
    ).results
    assert upsert_error(refused).field.endswith("vectors")


@pytest.mark.parametrize("text", ["", "words alone"])
async def test_an_entity_without_any_vector_is_refused(client: SearchClient, text: str) -> None:
    name = await filled(client)
    (refused,) = (await client.upsert(name, entity(name, "none", text=text))).results
    error: LookalikeError = upsert_error(refused)
    assert (type(error), error.field.rpartition(".")[2]) == (InvalidArgumentError, "vectors")
    assert await client.count(name) == 5


async def test_the_only_field_cannot_be_optional(client: SearchClient) -> None:
    error = await failure(client.create(optional(plain_field())))
    assert (type(error), error.field) == (
        InvalidArgumentError,
        "collection.vector_fields[0].optional",
    )


async def test_a_field_says_that_it_is_optional(client: SearchClient) -> None:
    name = await client.create(
        optional(plain_field(name="one")),
        plain_field(name="two", metric=vector_pb2.METRIC_EUCLIDEAN),
    )
    request = collection_service_pb2.GetCollectionRequest(name=name)
    found: collection_pb2.Collection = await client.collections.GetCollection(request)
    assert [each.optional for each in found.vector_fields] == [True, False]
