"""Classify over gRPC on Milvus Lite."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lookalike.search.v1 import collection_pb2
from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidFilterError,
    NotFoundError,
)
from tests.support.search_client import (
    SearchClient,
    by_entity,
    by_text,
    by_vector,
    entity,
    failure,
    ids,
)
from tests.support.toy_encoder import TEXT

Attribute = collection_pb2.AttributeField
FIELDS = (
    Attribute(name="kind", type=Attribute.TYPE_STRING, filterable=True, nullable=True),
    Attribute(name="tags", type=Attribute.TYPE_STRING_LIST, nullable=True),
)
KINDS = ("cat", "cat", "dog", "", "cat", "dog", "dog", "dog")


async def fan(client: SearchClient) -> str:
    """Create entities that turn away from (1, 0, 0), each by a tenth; one has no kind."""
    name = await client.create(attributes=FIELDS)
    await client.upsert(
        name,
        *(
            entity(
                name,
                f"e{i}",
                math.cos(i / 10),
                math.sin(i / 10),
                0,
                attributes={"kind": kind, "size": i % 2, "tags": ["a"]}
                if kind
                else {"size": i % 2},
            )
            for i, kind in enumerate(KINDS)
        ),
    )
    return name


async def classify(
    client: SearchClient, name: str, query: pb.Query | None = None, **options: Any
) -> pb.ClassifyResponse:
    options.setdefault("label", "kind")
    options.setdefault("consistency", pb.CONSISTENCY_STRONG)
    query = query or by_vector(1, 0, 0)
    request = pb.ClassifyRequest(collection=name, query=query, **options)
    reply: pb.ClassifyResponse = await client.searches.Classify(request)
    return reply


async def test_neighbours_vote_with_their_scores(client: SearchClient) -> None:
    name = await fan(client)
    reply = await classify(client, name, neighbors=4)
    assert ids(reply.supporters) == ["e0", "e1", "e2", "e4"], "one without the label has no vote"
    cats = 1 + math.cos(0.1) + math.cos(0.4)
    share = cats / (cats + math.cos(0.2))
    assert reply.label.string_value == "cat"
    assert reply.confidence == pytest.approx(share, abs=1e-6)
    assert reply.margin == pytest.approx(2 * share - 1, abs=1e-6)
    assert [(each.label.string_value, each.count) for each in reply.candidates] == [
        ("cat", 3),
        ("dog", 1),
    ]
    assert reply.best_score == pytest.approx(1)
    assert [each.rank for each in reply.supporters] == [1, 2, 3, 4]


async def test_all_neighbours_and_a_filter(client: SearchClient) -> None:
    name = await fan(client)
    everyone = await classify(client, name)
    assert (everyone.label.string_value, len(everyone.supporters)) == ("dog", 7)
    alone = await classify(client, name, neighbors=1)
    assert (alone.confidence, alone.margin) == (1, 1)
    odd = await classify(client, name, filter="size = 1")
    assert ids(odd.supporters) == ["e1", "e5", "e7"]
    either = await classify(client, name, filter='kind = "cat" OR size = 1')
    assert ids(either.supporters) == ["e0", "e1", "e4", "e5", "e7"]


async def test_no_match(client: SearchClient) -> None:
    name = await fan(client)
    sure = await classify(client, name, neighbors=4, min_confidence=0.7, min_margin=0.4)
    assert sure.label.string_value == "cat"
    for options in ({"min_confidence": 0.8}, {"min_margin": 0.6}):
        reply = await classify(client, name, None, neighbors=4, **options)
        assert not reply.HasField("label")
        assert reply.candidates[0].label.string_value == "cat"
        assert len(reply.supporters) == 4
    far = await classify(client, name, by_vector(0, 0, 1, min_score=0.5))
    assert not far.HasField("label")
    assert (list(far.candidates), list(far.supporters)) == ([], [])
    assert far.best_score == pytest.approx(0, abs=1e-6)
    opposite = await classify(client, name, by_vector(-1, 0, 0))
    assert not opposite.HasField("label"), "a score below 0 has no say"
    empty = await classify(client, await client.create())
    assert not empty.HasField("label")
    assert not empty.HasField("best_score")


async def test_labels_of_other_types(client: SearchClient) -> None:
    name = await fan(client)
    reply = await classify(client, name, label="size", neighbors=3)
    assert reply.label.number_value == 0
    assert [each.count for each in reply.candidates] == [2, 1]


async def test_what_supporters_carry(client: SearchClient) -> None:
    name = await fan(client)
    reply = await classify(client, name, neighbors=1, output_fields=["attributes.size"])
    assert dict(reply.supporters[0].entity.attributes) == {"size": 0}
    whole = await classify(client, name, neighbors=1)
    assert whole.supporters[0].entity.attributes["kind"] == "cat"


async def test_by_content_and_by_entity(client: SearchClient) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    await client.upsert(
        name,
        *(
            entity(name, word, text_content=word, attributes={"kind": kind})
            for word, kind in (("banana", "fruit"), ("bandana", "cloth"), ("ananas", "fruit"))
        ),
    )
    reply = await classify(client, name, by_text("nana"), neighbors=2)
    assert reply.label.string_value == "fruit"
    own = await classify(client, name, by_entity(name, "banana"), neighbors=1)
    assert "banana" not in ids(own.supporters)


async def test_what_is_refused(client: SearchClient) -> None:
    name = await fan(client)

    async def refusal(query: pb.Query | None = None, **options: Any) -> tuple[type, str]:
        error = await failure(classify(client, name, query, **options))
        return type(error), error.field

    invalid = InvalidArgumentError
    assert await refusal(label="tags") == (invalid, "label")
    assert await refusal(label="item") == (invalid, "label")
    assert await refusal(label="") == (invalid, "label")
    assert await refusal(neighbors=0) == (invalid, "neighbors")
    assert await refusal(neighbors=1001) == (invalid, "neighbors")
    assert await refusal(min_confidence=1.5) == (invalid, "min_confidence")
    assert await refusal(pb.Query(keyword="a")) == (invalid, "query.keyword")
    assert await refusal(by_text("a")) == (invalid, "query.content")
    assert await refusal(by_entity(name, "none")) == (NotFoundError, "")
    assert await refusal(filter="size = 1) OR (size = 0") == (InvalidFilterError, "filter")
