"""StreamUpsertEntities over gRPC, on Milvus Lite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta

import grpc.aio
import pytest

from lookalike.search.v1 import collection_pb2, entity_pb2
from lookalike.search.v1 import entity_service_pb2 as pb
from lookalike.type.v1 import outcome_pb2
from lookalike_common.channels import open_channel
from lookalike_common.errors import (
    BackendUnavailableError,
    EncoderMismatchError,
    InvalidArgumentError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
)
from lookalike_common.server import GrpcServer
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually, loopback, running
from lookalike_search.app import build
from lookalike_search.settings import StreamSettings
from tests.integration.search.conftest import search_settings
from tests.support.milvus_lite import MilvusLite
from tests.support.search_client import SearchClient, entity, upsert_error
from tests.support.toy_encoder import TEXT, ToyEncoder

CREATED = outcome_pb2.OUTCOME_CREATED
UPDATED = outcome_pb2.OUTCOME_UPDATED


def batch(collection: str, entities: Iterable[entity_pb2.Entity]) -> pb.UpsertEntitiesRequest:
    return pb.UpsertEntitiesRequest(collection=collection, entities=entities)


async def replies_to(
    client: SearchClient, requests: Sequence[pb.UpsertEntitiesRequest]
) -> tuple[list[pb.UpsertEntitiesResponse], LookalikeError | None]:
    """Return what a stream answered, and how it ended if not well."""
    replies = []
    try:
        async for reply in client.entities.StreamUpsertEntities(iter(requests)):
            replies.append(reply)  # noqa: PERF401 - what came before the error counts
    except grpc.aio.AioRpcError as error:
        return replies, error_from_rpc(error)
    return replies, None


async def test_one_reply_a_batch_in_order(client: SearchClient) -> None:
    name = await client.create()
    batches = [
        batch(
            "" if number else name,
            [entity(name, f"e{number}-{i}", 1, i, 0) for i in range(10 + number)],
        )
        for number in range(12)
    ]
    replies, error = await replies_to(client, batches)
    assert error is None
    for number, (sent, reply) in enumerate(zip(batches, replies, strict=True)):
        named = [each.entity.name for each in reply.results]
        assert named == [each.name for each in sent.entities], number
        assert {each.entity.outcome for each in reply.results} == {CREATED}
        assert reply.consistency_token
        assert not reply.HasField("backoff")
    assert await client.count(name) == sum(len(each.entities) for each in batches)


async def test_of_the_same_name_the_last_wins(client: SearchClient) -> None:
    """The first needs the encoder, the second does not and would overtake it."""
    name = await client.create(collection_pb2.VectorField(name="vector", encoder=TEXT))
    vector = [1.0, *[0.0] * 25]
    for first, second in (
        (entity(name, "e", text_content="slow"), entity(name, "e", *vector)),
        (entity(name, item="i", text_content="slow"), entity(name, "", *vector, item="i")),
    ):
        first.attributes["from"] = "first"
        second.attributes["from"] = "second"
        replies, error = await replies_to(client, [batch(name, [first]), batch("", [second])])
        assert error is None
        [[one], [two]] = [reply.results for reply in replies]
        assert (one.entity.outcome, two.entity.outcome) == (CREATED, UPDATED)
        assert (await client.get(two.entity.name)).attributes["from"] == "second"


async def test_a_bad_entity_fails_alone(client: SearchClient) -> None:
    name = await client.create()
    good, bad = entity(name, "good", 1, 0, 0), entity(name, "bad", 1, 0)
    replies, error = await replies_to(
        client, [batch(name, [good, bad]), batch("", [entity(name, "next", 1, 0, 0)])]
    )
    assert error is None
    assert replies[0].results[0].HasField("entity")
    refused = upsert_error(replies[0].results[1])
    assert refused.violations[0].field == "entities[1].vectors.vector"
    assert replies[1].results[0].HasField("entity")


ANY = [entity_pb2.Entity(item="x")]
BREAKING: dict[str, tuple[pb.UpsertEntitiesRequest, type[LookalikeError], str]] = {
    "no entities": (batch("", []), InvalidArgumentError, "entities"),
    "a strange name": (batch("Bad Name", ANY), InvalidArgumentError, "collection"),
    "an unknown collection": (batch("collections/none", ANY), NotFoundError, ""),
}


@pytest.mark.parametrize("case", list(BREAKING))
async def test_what_will_not_pass_ends_the_stream_after_the_replies_before(
    client: SearchClient, case: str
) -> None:
    second, kind, field = BREAKING[case]
    name = await client.create()
    third = batch(name, [entity(name, "third", 1, 0, 0)])
    replies, error = await replies_to(
        client, [batch(name, [entity(name, "first", 1, 0, 0)]), second, third]
    )
    assert len(replies) == 1
    assert (type(error), error.field if error else "") == (kind, field)
    assert "first" in await client.listed(name)


async def test_the_first_batch_names_the_collection(client: SearchClient) -> None:
    _, error = await replies_to(client, [batch("", [entity("", item="x")])])
    assert type(error) is InvalidArgumentError
    assert error.field == "collection"
    assert await replies_to(client, []) == ([], None)


async def test_another_encoder_ends_the_stream(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    toy_encoder.fingerprints[TEXT] = "cc" * 32
    replies, error = await replies_to(client, [batch(name, [entity(name, "e", text_content="a")])])
    assert (replies, type(error)) == ([], EncoderMismatchError)


async def test_what_passes_is_the_answer_of_its_batch(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(name="vector", encoder=TEXT))
    toy_encoder.failure = OverloadedError("the queue is full", retry_after=timedelta(seconds=3))
    vector = [1.0, *[0.0] * 25]
    replies, error = await replies_to(
        client,
        [
            batch(name, [entity(name, "a", text_content="a"), entity("collections/x", "bad", 1)]),
            batch("", [entity(name, "b", text_content="b")]),
            batch("", [entity(name, "c", *vector)]),
        ],
    )
    assert error is None
    assert type(upsert_error(replies[0].results[0])) is OverloadedError
    assert type(upsert_error(replies[0].results[1])) is InvalidArgumentError
    assert type(upsert_error(replies[1].results[0])) is OverloadedError
    assert replies[2].results[0].entity.outcome == CREATED
    assert [each.backoff.ToTimedelta() for each in replies] == [
        timedelta(seconds=3),
        timedelta(seconds=3),
        timedelta(0),
    ]
    toy_encoder.failure = BackendUnavailableError("away")
    replies, _ = await replies_to(client, [batch(name, [entity(name, "a", text_content="a")])])
    assert type(upsert_error(replies[0].results[0])) is BackendUnavailableError
    assert replies[0].backoff.ToTimedelta() == timedelta(seconds=0.5)


async def test_only_so_many_batches_are_taken_at_once(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    toy_encoder.gate = asyncio.Event()
    call = client.entities.StreamUpsertEntities(
        iter([batch(name, [entity(name, f"e{number}", text_content="a")]) for number in range(20)])
    )
    await assert_eventually(lambda: len(toy_encoder.requests) == 2)
    toy_encoder.gate.set()
    replies = [reply async for reply in call]
    assert len(replies) == 20
    assert toy_encoder.most_at_once == 2


async def test_a_caller_who_leaves_stops_what_is_under_way(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    toy_encoder.gate = asyncio.Event()
    call = client.entities.StreamUpsertEntities(
        iter([batch(name, [entity(name, f"e{number}", text_content="a")]) for number in range(4)])
    )
    await assert_eventually(lambda: len(toy_encoder.requests) == 2)
    call.cancel()
    await assert_eventually(lambda: toy_encoder.cancelled == 2)
    toy_encoder.gate.set()
    assert await client.count(name) == 0


async def test_a_slow_store_asks_for_a_pause(
    milvus_lite: MilvusLite, encoder_server: GrpcServer
) -> None:
    settings = search_settings(milvus_lite.uri, encoder_server.port).model_copy(
        update={"streams": StreamSettings(slow_after=timedelta(microseconds=1))}
    )
    async with (
        running(build(settings)) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        client = SearchClient(channel)
        name = await client.create()
        [reply], _ = await replies_to(client, [batch(name, [entity(name, "e", 1, 0, 0)])])
        assert reply.results[0].HasField("entity")
        assert reply.backoff.ToTimedelta() > timedelta(0)
