"""EntityService over gRPC, on Milvus Lite."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from lookalike.search.v1 import collection_pb2, entity_pb2, entity_service_pb2
from lookalike.type.v1 import outcome_pb2, segment_pb2, vector_pb2
from lookalike_common.errors import (
    ConcurrentChangeError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidContentError,
    InvalidPageTokenError,
    NotFoundError,
)
from lookalike_common.status import error_from_status
from tests.support.search_client import (
    ATTRIBUTES,
    SearchClient,
    dense,
    entity,
    failure,
    outcomes,
    plain_field,
    upsert_error,
)
from tests.support.toy_encoder import TEXT, ToyEncoder, letters

CREATED = outcome_pb2.OUTCOME_CREATED
UPDATED = outcome_pb2.OUTCOME_UPDATED
UNCHANGED = outcome_pb2.OUTCOME_UNCHANGED

# --- writing and reading -----------------------------------------------------------------------


async def test_entity_comes_back_as_it_was_written(client: SearchClient) -> None:
    name = await client.create(attributes=ATTRIBUTES)
    written = entity(
        name,
        "e1",
        0.1,
        -2.5,
        1 / 3,
        item="photos/ä.jpg",
        asset="assets/" + "f" * 64,
        segment=segment_pb2.Segment(
            time=segment_pb2.TimeSpan(start=Duration(seconds=1), end=Duration(seconds=2)), index=4
        ),
        text="Zwei\nZeilen",
        content_hash="ab" * 32,
        generation=7,
        source_uri="file:///photos/ä.jpg",
        attributes={
            "color": "red",
            "price": str(2**60 + 1),
            "weight": 3,
            "sold": True,
            "taken": "2026-01-31T13:00:00+01:00",
            "tags": ["a"],
            "free": {"x": [1, "2"]},
        },
    )
    assert outcomes(await client.upsert(name, written)) == [CREATED]
    found = await client.get(
        f"{name}/entities/e1",
        output_fields=["vectors", "attributes", "item", "asset", "segment", "text"],
        vector_format=vector_pb2.VECTOR_FORMAT_VALUES,
    )
    assert list(found.vectors["vector"].dense.values) == list(
        np.array([0.1, -2.5, 1 / 3], np.float32)
    )
    assert MessageToDict(found.attributes) == {
        "color": "red",
        "price": str(2**60 + 1),
        "weight": 3.0,
        "sold": True,
        "taken": "2026-01-31T12:00:00.000000Z",
        "tags": ["a"],
        "free": {"x": [1.0, "2"]},
    }
    assert (found.item, found.asset, found.text) == (written.item, written.asset, written.text)
    assert found.segment == written.segment
    assert not found.content_hash
    whole = await client.get(f"{name}/entities/e1")
    assert (whole.content_hash, whole.generation) == ("ab" * 32, 7)
    assert whole.source_uri == written.source_uri
    assert whole.create_time == whole.update_time
    assert not whole.vectors


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        (vector_pb2.DATA_TYPE_UNSPECIFIED, np.array([1, 2, 3], "<f4").tobytes()),
        (vector_pb2.DATA_TYPE_FLOAT16, np.array([1, 2, 3], "<f2").tobytes()),
        (
            vector_pb2.DATA_TYPE_BFLOAT16,
            (np.array([1, 2, 3], "<f4").view("<u4") >> 16).astype("<u2").tobytes(),
        ),
    ],
)
async def test_packed_vectors(
    client: SearchClient, dtype: vector_pb2.DataType.ValueType, data: bytes
) -> None:
    name = await client.create()
    written = entity(name, "e")
    packed = vector_pb2.DenseVector(data=data, dtype=dtype, dimensions=3)
    written.vectors["vector"].dense.CopyFrom(packed)
    assert outcomes(await client.upsert(name, written)) == [CREATED]
    found = await client.get(f"{name}/entities/e", output_fields=["vectors.vector"])
    assert found.vectors["vector"].dense.data == np.array([1, 2, 3], "<f4").tobytes()


async def test_batch_get_keeps_the_order_and_tells_what_is_missing(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, entity(name, "a", 1, 0, 0), entity(name, "b", 0, 1, 0))
    names = [f"{name}/entities/{each}" for each in ("b", "none", "a", "b")]
    reply = await client.entities.BatchGetEntities(
        entity_service_pb2.BatchGetEntitiesRequest(
            collection=name, names=names, output_fields=["content_hash", "generation"]
        )
    )
    assert [each.entity.name for each in reply.results] == [names[0], "", names[2], names[3]]
    missing = error_from_status(reply.results[1].error)
    assert type(missing) is NotFoundError
    assert missing.resource_name == names[1]
    other = entity_service_pb2.BatchGetEntitiesRequest(
        collection=name, names=["collections/other/entities/a"]
    )
    refused = await failure(client.entities.BatchGetEntities(other))
    assert (type(refused), refused.field) == (InvalidArgumentError, "names[0]")


async def test_list_is_paged_by_id_and_filtered(client: SearchClient) -> None:
    name = await client.create(attributes=ATTRIBUTES)
    entities = [
        entity(name, f"e{i:03d}", 1, i, 0, attributes={"price": i, "color": "red"})
        for i in range(25)
    ]
    await client.upsert(name, *entities)
    seen: list[str] = []
    request = entity_service_pb2.ListEntitiesRequest(
        collection=name, page_size=7, filter='color = "red" AND price < 20'
    )
    while True:
        page = await client.entities.ListEntities(request)
        seen += [each.name.rpartition("/")[2] for each in page.entities]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert seen == [f"e{i:03d}" for i in range(20)]
    assert await client.count(name) == 25
    assert await client.count(name, "price >= 20") == 5
    request.page_token = page.next_page_token or "broken"
    assert type(await failure(client.entities.ListEntities(request))) is InvalidPageTokenError


async def test_a_page_token_belongs_to_its_request(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, *(entity(name, f"e{i}", 1, i, 0) for i in range(3)))
    request = entity_service_pb2.ListEntitiesRequest(collection=name, page_size=1)
    request.page_token = (await client.entities.ListEntities(request)).next_page_token
    request.filter = "item:*"
    assert type(await failure(client.entities.ListEntities(request))) is InvalidPageTokenError


# --- outcomes and generations ------------------------------------------------------------------


async def test_outcomes_without_generations(client: SearchClient) -> None:
    name = await client.create()
    first = entity(name, "e", 1, 0, 0, attributes={"a": 1})
    assert outcomes(await client.upsert(name, first)) == [CREATED]
    before = await client.get(f"{name}/entities/e")
    assert outcomes(await client.upsert(name, first)) == [UNCHANGED]
    assert await client.get(f"{name}/entities/e") == before
    other = entity(name, "e", 1, 0, 0, attributes={"a": True})
    assert outcomes(await client.upsert(name, other)) == [UPDATED]
    turned = entity(name, "e", 0, 1, 0, attributes={"a": True})
    assert outcomes(await client.upsert(name, turned)) == [UPDATED]
    after = await client.get(f"{name}/entities/e")
    assert after.create_time == before.create_time
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    assert after.generation > before.generation
    assert await client.count(name) == 1


async def test_a_repeated_generation_keeps_its_first_answer(client: SearchClient) -> None:
    name = await client.create()

    async def write(generation: int, text: str) -> int:
        written = entity(name, "e", 1, 0, 0, text=text, generation=generation)
        return outcomes(await client.upsert(name, written))[0]

    assert await write(10, "one") == CREATED
    assert await write(10, "one") == CREATED
    assert await write(20, "two") == UPDATED
    assert await write(20, "two") == UPDATED
    assert await write(30, "two") == UNCHANGED
    assert await write(30, "two") == UNCHANGED
    assert await write(40, "three") == UPDATED


async def test_an_older_generation_fails_alone(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, entity(name, "e", 1, 0, 0, text="new", generation=20))
    reply = await client.upsert(
        name,
        entity(name, "e", 1, 0, 0, text="old", generation=10),
        entity(name, "other", 1, 0, 0, generation=10),
    )
    refused = upsert_error(reply.results[0])
    assert type(refused) is ConcurrentChangeError
    assert refused.violations[0].field == "entities[0].generation"
    assert reply.results[1].entity.outcome == CREATED
    assert (await client.get(f"{name}/entities/e")).text == "new"


async def test_unchanged_parts_survive_the_sweep_of_older_generations(
    client: SearchClient,
) -> None:
    """A job that was killed before its commit record is followed by another one."""
    name = await client.create()

    def parts(generation: int) -> list[entity_pb2.Entity]:
        return [
            entity(
                name, f"part{i}", 1, i, 0, item="doc", content_hash="cd" * 32, generation=generation
            )
            for i in (1, 2)
        ]

    await client.upsert(name, *parts(10))
    assert outcomes(await client.upsert(name, *parts(20))) == [UNCHANGED, UNCHANGED]
    sweep = entity_service_pb2.ItemSelector(item="doc", before_generation=20)
    assert await client.delete(name, items=[sweep]) == 0
    assert await client.count(name) == 2


async def test_duplicates_in_a_batch_are_folded(client: SearchClient) -> None:
    name = await client.create()
    reply = await client.upsert(
        name,
        entity(name, "e", 1, 0, 0, text="first"),
        entity(name, "f", 1, 0, 0),
        entity(name, "e", 1, 0, 0, text="last"),
    )
    assert outcomes(reply) == [CREATED, CREATED, CREATED]
    assert (await client.get(f"{name}/entities/e")).text == "last"
    assert await client.count(name) == 2


async def test_names_come_from_item_or_content(client: SearchClient) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    first = await client.upsert(name, entity(name, text_content="abc", item="the item"))
    again = await client.upsert(name, entity(name, text_content="xyz", item="the item"))
    assert first.results[0].entity.name == again.results[0].entity.name
    assert again.results[0].entity.outcome == UPDATED
    anonymous = await client.upsert(name, entity(name, text_content="abc"))
    same = await client.upsert(name, entity(name, text_content="abc"))
    assert same.results[0].entity == entity_service_pb2.UpsertedEntity(
        name=anonymous.results[0].entity.name, outcome=UNCHANGED
    )
    assert await client.count(name) == 2


async def test_a_thousand_at_once(client: SearchClient) -> None:
    name = await client.create()
    entities = [entity(name, f"e{i:04d}", 1, i, 0) for i in range(1000)]
    assert outcomes(await client.upsert(name, *entities)) == [CREATED] * 1000
    assert outcomes(await client.upsert(name, *entities)) == [UNCHANGED] * 1000
    assert await client.count(name) == 1000
    too_many = [*entities, entity(name, "one more", 1, 0, 0)]
    assert (await failure(client.upsert(name, *too_many))).field == "entities"


# --- content -----------------------------------------------------------------------------------


async def test_content_is_encoded_only_when_it_has_to_be(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    written = entity(name, "e", text_content="abba", attributes={"a": 1})
    assert outcomes(await client.upsert(name, written)) == [CREATED]
    [asked] = toy_encoder.requests
    assert asked.expected_fingerprint == toy_encoder.fingerprints[TEXT]
    assert outcomes(await client.upsert(name, written)) == [UNCHANGED]
    assert len(toy_encoder.requests) == 1
    found = await client.get(f"{name}/entities/e", output_fields=["vectors"])
    data = np.frombuffer(found.vectors["vector"].dense.data, "<f4")
    assert np.allclose(data, letters("abba"))


async def test_a_bad_content_fails_alone(client: SearchClient) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    reply = await client.upsert(
        name,
        entity(name, "good", text_content="abc"),
        entity(name, "bad", text_content="123"),
        entity(name, "also-good", text_content="def"),
    )
    refused = upsert_error(reply.results[1])
    assert type(refused) is InvalidContentError
    assert refused.violations[0].field == "entities[1].content"
    assert [each.HasField("entity") for each in reply.results] == [True, False, True]
    assert await client.count(name) == 2


async def test_an_encoder_that_changed_is_refused(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    bound = toy_encoder.fingerprints[TEXT]
    toy_encoder.fingerprints[TEXT] = "cc" * 32
    refused = await failure(client.upsert(name, entity(name, "e", text_content="abc")))
    assert type(refused) is EncoderMismatchError
    assert bound in refused.message
    assert "cc" * 32 in refused.message
    assert await client.count(name) == 0


@pytest.mark.feature("several-vectors")
async def test_several_fields_and_one_content(client: SearchClient) -> None:
    name = await client.create(
        collection_pb2.VectorField(name="letters", encoder=TEXT), plain_field(name="color")
    )
    both = entity(name, "e", text_content="abc")
    both.vectors["color"].CopyFrom(dense(1, 0, 0))
    lacking = entity(name, "f", text_content="abc")
    reply = await client.upsert(name, both, lacking)
    assert reply.results[0].entity.outcome == CREATED
    assert upsert_error(reply.results[1]).violations[0].field == "entities[1].vectors.color"


# --- deleting ----------------------------------------------------------------------------------


async def test_delete_by_name_item_and_filter(client: SearchClient) -> None:
    name = await client.create(attributes=ATTRIBUTES)
    entities = [
        entity(
            name,
            f"e{i}",
            1,
            i,
            0,
            item=f"item{i // 3}",
            generation=i + 1,
            attributes={"price": i},
        )
        for i in range(12)
    ]
    await client.upsert(name, *entities)
    names = [f"{name}/entities/{each}" for each in ("e0", "missing", "e0")]
    assert await client.delete(name, names=names, validate_only=True) == 1
    assert await client.delete(name, names=names) == 1
    old = entity_service_pb2.ItemSelector(
        item="item1", before_generation=6, keep=[f"{name}/entities/e4"]
    )
    whole = entity_service_pb2.ItemSelector(item="item2")
    none = entity_service_pb2.ItemSelector(item="item9")
    assert await client.delete(name, items=[old, whole, none], validate_only=True) == 4
    assert await client.delete(name, items=[old, whole, none]) == 4
    assert await client.listed(name) == ["e1", "e10", "e11", "e2", "e4", "e5", "e9"]
    assert await client.delete(name, filter="price > 9") == 2
    assert await client.listed(name) == ["e1", "e2", "e4", "e5", "e9"]
    assert await client.delete(name, names=names) == 0


async def test_delete_needs_one_selector(client: SearchClient) -> None:
    name = await client.create()
    assert type(await failure(client.delete(name))) is InvalidArgumentError
    both = {"names": [f"{name}/entities/e"], "filter": "price > 9"}
    assert type(await failure(client.delete(name, **both))) is InvalidArgumentError
