"""What EntityService refuses, and hostile texts that it keeps."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from lookalike.search.v1 import entity_pb2, entity_service_pb2
from lookalike.type.v1 import outcome_pb2, vector_pb2
from lookalike_common.errors import (
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidFilterError,
    LimitExceededError,
    LookalikeError,
    NotFoundError,
    UnsupportedByBackendError,
)
from tests.support.search_client import (
    ATTRIBUTES,
    Attribute,
    SearchClient,
    dense,
    entity,
    failure,
    upsert_error,
)

CREATED = outcome_pb2.OUTCOME_CREATED

BAD: dict[str, tuple[dict[str, Any], type[LookalikeError], str]] = {
    "wrong dimensions": (
        {"vectors": {"vector": dense(1, 2)}},
        EncoderMismatchError,
        "vectors.vector",
    ),
    "a zero vector under cosine": (
        {"vectors": {"vector": dense(0, 0, 0)}},
        InvalidArgumentError,
        "vectors.vector",
    ),
    "NaN": (
        {
            "vectors": {
                "vector": vector_pb2.Vector(
                    dense=vector_pb2.DenseVector(data=np.array([1, np.nan, 0], "<f4").tobytes())
                )
            }
        },
        InvalidArgumentError,
        "vectors.vector",
    ),
    "infinity": (
        {
            "vectors": {
                "vector": vector_pb2.Vector(
                    dense=vector_pb2.DenseVector(data=np.array([1, np.inf, 0], "<f4").tobytes())
                )
            }
        },
        InvalidArgumentError,
        "vectors.vector",
    ),
    "half a number": (
        {
            "vectors": {
                "vector": vector_pb2.Vector(dense=vector_pb2.DenseVector(data=b"\x00\x00\x80"))
            }
        },
        InvalidArgumentError,
        "vectors.vector.dense.data",
    ),
    "dimensions that lie": (
        {
            "vectors": {
                "vector": vector_pb2.Vector(
                    dense=vector_pb2.DenseVector(values=[1, 2, 3], dimensions=4)
                )
            }
        },
        InvalidArgumentError,
        "vectors.vector.dense.dimensions",
    ),
    "no vector": ({}, InvalidArgumentError, "vectors.vector"),
    "an unknown field": (
        {"vectors": {"vector": dense(1, 0, 0), "other": dense(1)}},
        InvalidArgumentError,
        "vectors.other",
    ),
    "another collection's name": (
        {"name": "collections/other/entities/e", "vectors": {"vector": dense(1, 0, 0)}},
        InvalidArgumentError,
        "name",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
async def test_a_bad_entity_fails_alone(client: SearchClient, case: str) -> None:
    fields, kind, field = BAD[case]
    name = await client.create()
    reply = await client.upsert(
        name, entity(name, "good", 1, 0, 0), entity_pb2.Entity(item="bad", **fields)
    )
    assert reply.results[0].entity.outcome == CREATED
    refused = upsert_error(reply.results[1])
    assert type(refused) is kind, refused.message
    assert refused.violations[0].field == f"entities[1].{field}"
    assert await client.count(name) == 1


BAD_ATTRIBUTES: dict[str, tuple[dict[str, object], type[LookalikeError]]] = {
    "price": ({"price": 1.5}, InvalidArgumentError),
    "price ": ({"price": "12x"}, InvalidArgumentError),
    "weight": ({"weight": "heavy"}, InvalidArgumentError),
    "sold": ({"sold": "yes"}, InvalidArgumentError),
    "taken": ({"taken": "yesterday"}, InvalidArgumentError),
    "tags": ({"tags": [1]}, InvalidArgumentError),
    "color": ({"color": 3}, InvalidArgumentError),
    "text": ({"text": "reserved"}, InvalidArgumentError),
    "item": ({"item": "reserved"}, InvalidArgumentError),
    "create_time": ({"create_time": "2026-01-31T12:00:00Z"}, InvalidArgumentError),
    'a"] or true': ({'a"] or true': 1}, InvalidArgumentError),
    "free": ({"free": [None]}, InvalidArgumentError),
    "free ": ({"free": "x" * 70_000}, LimitExceededError),
}


@pytest.mark.parametrize("case", list(BAD_ATTRIBUTES))
async def test_bad_attributes(client: SearchClient, case: str) -> None:
    attributes, kind = BAD_ATTRIBUTES[case]
    name = await client.create(attributes=ATTRIBUTES)
    reply = await client.upsert(name, entity(name, "e", 1, 0, 0, attributes=attributes))
    refused = upsert_error(reply.results[0])
    assert type(refused) is kind, refused.message
    assert refused.violations[0].field.startswith("entities[0].attributes")


async def test_an_attribute_that_is_needed(client: SearchClient) -> None:
    needed = Attribute(name="title", type=Attribute.TYPE_STRING)
    name = await client.create(attributes=[needed])
    reply = await client.upsert(name, entity(name, "e", 1, 0, 0))
    assert upsert_error(reply.results[0]).violations[0].field == "entities[0].attributes.title"


async def test_unknown_collection(client: SearchClient) -> None:
    name = "collections/none"
    for call in (
        client.upsert(name, entity(name, "e", 1, 0, 0)),
        client.count(name),
        client.get(f"{name}/entities/e"),
        client.listed(name),
        client.delete(name, filter="a = 1"),
    ):
        missing = await failure(call)
        assert type(missing) is NotFoundError
        assert missing.resource_name == name


async def test_missing_entity(client: SearchClient) -> None:
    name = await client.create()
    missing = await failure(client.get(f"{name}/entities/none"))
    assert type(missing) is NotFoundError
    assert missing.resource_name == f"{name}/entities/none"


async def test_unknown_output_field(client: SearchClient) -> None:
    name = await client.create()
    refused = await failure(client.listed(name, output_fields=["item", "secrets"]))
    assert (type(refused), refused.field) == (InvalidArgumentError, "output_fields[1]")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("price <", InvalidFilterError),
        ('price = "x"', InvalidFilterError),
        ('" or true or "', InvalidFilterError),
        ('color = "*middle*"', UnsupportedByBackendError),
    ],
)
async def test_bad_filters(client: SearchClient, text: str, kind: type[LookalikeError]) -> None:
    name = await client.create(attributes=ATTRIBUTES)
    refused = await failure(client.count(name, text))
    assert type(refused) is kind
    assert refused.field == "filter"


HOSTILE = ('" or true or "', "\\", '\\"', "'", "a\nb\tc\rd", "%_", "x' OR 1==1 --", "漢字🦊\x00")


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_are_only_texts(client: SearchClient, text: str) -> None:
    name = await client.create(attributes=ATTRIBUTES)
    hostile = entity(
        name, "hostile", 1, 0, 0, item=text, text=text, attributes={"color": text, "free": text}
    )
    await client.upsert(name, hostile, entity(name, "other", 0, 1, 0, attributes={"color": "x"}))
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    quoted = quoted.replace("\t", "\\t").replace("\r", "\\r")
    for field in ("color", "free", "item"):
        assert await client.listed(name, filter=f'{field} = "{quoted}"') == ["hostile"]
    found = await client.get(f"{name}/entities/hostile")
    assert (found.item, found.text, found.attributes["color"]) == (text, text, text)
    selector = entity_service_pb2.ItemSelector(item=text)
    assert await client.delete(name, items=[selector]) == 1
    assert await client.count(name) == 1


async def test_hostile_names(client: SearchClient) -> None:
    name = await client.create()
    strange = ['a"b', "a\\", "'", "a]or[true", "%", "~!@#$^&*()"]
    await client.upsert(name, *(entity(name, each, 1, 0, 0) for each in strange))
    assert sorted(strange) == await client.listed(name)
    for each in strange:
        assert (await client.get(f"{name}/entities/{each}")).name.endswith(each)
    assert await client.delete(name, names=[f"{name}/entities/{strange[0]}"]) == 1
    encoded = base64.b64encode(b"x" * 200).decode()
    for bad in ("", "with space", "ä", "a/b", encoded):
        refused = await failure(client.get(f"{name}/entities/{bad}"))
        assert type(refused) is InvalidArgumentError
