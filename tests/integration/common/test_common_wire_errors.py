"""What callers see when handlers fail, for each kind of rpc."""

from __future__ import annotations

import asyncio
import gc
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from lookalike_common import errors
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually

if TYPE_CHECKING:
    from tests.integration.common.conftest import Probe, Start

KINDS = ["unary", "client_stream", "server_stream", "bidi_stream"]
REPLIES = {"unary": 1, "client_stream": 1, "server_stream": 2, "bidi_stream": 2}

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
async def test_a_call_succeeds(start: Start, kind: str) -> None:
    async with start() as running:
        assert await running.call(kind) == REPLIES[kind]
        await assert_eventually(lambda: running.handled("OK") == 1)


@each_kind
async def test_an_error_of_the_tree_arrives_whole(start: Start, probe: Probe, kind: str) -> None:
    async def act() -> None:
        raise errors.OverloadedError("full", field="items[2]", retry_after=timedelta(seconds=2))

    probe.act = act
    async with start() as running:
        failure = await running.failure(kind)
        assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure.details() == "items[2]: full"
        error = error_from_rpc(failure)
        assert type(error) is errors.OverloadedError
        assert (error.field, error.retry_after) == ("items[2]", timedelta(seconds=2))
        await assert_eventually(lambda: running.handled("ResourceExhausted") == 1)


@each_kind
async def test_an_unknown_error_leaks_nothing(start: Start, probe: Probe, kind: str) -> None:
    async def act() -> None:
        raise RuntimeError("hunter2")

    probe.act = act
    async with start() as running:
        failure = await running.failure(kind, metadata=(("x-request-id", "r-42"),))
        assert failure.code() is grpc.StatusCode.INTERNAL
        assert failure.details() == "internal error; report request id r-42"
        assert "hunter2" not in repr(failure)
        assert dict(failure.trailing_metadata())["x-request-id"] == "r-42"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (TimeoutError(), grpc.StatusCode.DEADLINE_EXCEEDED),
        (MemoryError(), grpc.StatusCode.INTERNAL),
        (StopAsyncIteration(), grpc.StatusCode.INTERNAL),
        (asyncio.CancelledError(), grpc.StatusCode.CANCELLED),
        (
            ExceptionGroup("", [ValueError(), ExceptionGroup("", [errors.NotFoundError("no")])]),
            grpc.StatusCode.NOT_FOUND,
        ),
        (ExceptionGroup("", [ValueError()]), grpc.StatusCode.INTERNAL),
        (grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE), grpc.StatusCode.UNAVAILABLE),
        (grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT), grpc.StatusCode.INTERNAL),
        (grpc.RpcError(), grpc.StatusCode.INTERNAL),
    ],
)
async def test_foreign_errors_are_translated(
    start: Start, probe: Probe, raised: BaseException, code: grpc.StatusCode
) -> None:
    async def act() -> None:
        raise raised

    probe.act = act
    async with start() as running:
        # A stream, since its status is not retried once a reply has come.
        failure = await running.failure("server_stream")
        assert failure.code() is code
        assert dict(failure.trailing_metadata())["x-request-id"]


class Payload:
    """Stands for the memory of a request."""


@each_kind
async def test_a_failed_call_frees_its_memory_at_once(
    start: Start, probe: Probe, kind: str
) -> None:
    held: list[weakref.ref[Payload]] = []

    async def act() -> None:
        payload = Payload()
        held.append(weakref.ref(payload))
        raise errors.NotFoundError(f"nothing for {payload}")

    probe.act = act
    gc.collect()
    gc.disable()
    try:
        async with start() as running:
            failure = await running.failure(kind)
            assert failure.code() is grpc.StatusCode.NOT_FOUND
            await assert_eventually(lambda: [each() for each in held] == [None], timeout=2)
    finally:
        gc.enable()


async def test_an_abort_by_the_handler_passes(start: Start, probe: Probe) -> None:
    async def act() -> None:
        assert probe.grpc_context is not None
        await probe.grpc_context.abort(grpc.StatusCode.DATA_LOSS, "as it said")

    probe.act = act
    async with start() as running:
        failure = await running.failure("unary")
        assert (failure.code(), failure.details()) == (grpc.StatusCode.DATA_LOSS, "as it said")
        await assert_eventually(lambda: running.handled("DataLoss") == 1)


async def test_a_handler_returning_nonsense_is_internal(start: Start, probe: Probe) -> None:
    async def nonsense(_request: object, _context: object) -> str:
        return "hunter2"

    probe.GetAsset = nonsense  # type: ignore[assignment, method-assign] # it is the test
    async with start() as running:
        failure = await running.failure("unary")
        assert failure.code() is grpc.StatusCode.INTERNAL
        assert "hunter2" not in repr(failure)


async def test_an_rpc_that_is_left_out_says_so(start: Start) -> None:
    async with start() as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.encoder.Encode(running.encode_request("a"))
        error = error_from_rpc(caught.value)
        assert type(error) is errors.UnimplementedError
        assert error.message == "Encode is not served here"


async def test_a_synchronous_handler_is_refused_at_start(start: Start, probe: Probe) -> None:
    probe.GetAsset = print  # type: ignore[assignment, method-assign] # it is the test
    with pytest.raises(TypeError, match="GetAsset must be a coroutine function"):
        async with start():
            raise AssertionError("it must not start")


async def test_garbage_is_an_invalid_argument(start: Start) -> None:
    async with start() as running:
        path = "/lookalike.asset.v1.AssetService/GetAsset"
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = running.channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(b"\xff\xff\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_messages_of_a_stream_are_validated(start: Start) -> None:
    async with start() as running:
        wrong = running.encode_request("a", "b")
        wrong.items[1].Clear()
        stream = running.encoder.StreamEncode(iter([running.encode_request("a"), wrong]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            assert [each.encoder async for each in stream] == ["encoders/a"]
        assert error_from_rpc(caught.value).field == "items[1].content"


async def test_a_large_request_is_validated_too(start: Start) -> None:
    async with start(validate_off_loop_bytes=10) as running:
        failure = await running.failure("unary", name="assets/" + "x" * 100)
        assert error_from_rpc(failure).field == "name"
        assert await running.call("unary") == 1


@each_kind
async def test_a_client_that_leaves_cancels_the_handler(
    start: Start, probe: Probe, kind: str
) -> None:
    ended = asyncio.Event()

    async def act() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    probe.act = act
    async with start() as running:
        call = asyncio.create_task(running.call(kind))
        await asyncio.wait_for(probe.called.wait(), 5)
        call.cancel()
        await asyncio.wait_for(ended.wait(), 5)
        await assert_eventually(lambda: running.handled("Canceled") == 1)


@each_kind
async def test_a_deadline_ends_the_handler(start: Start, probe: Probe, kind: str) -> None:
    async def act() -> None:
        await asyncio.Event().wait()

    probe.act = act
    async with start() as running:
        failure = await running.failure(kind, timeout=0.2)
        assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await assert_eventually(lambda: running.handled("DeadlineExceeded") == 1)


async def test_unavailable_is_retried(start: Start, probe: Probe) -> None:
    attempts = 0

    async def act() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise errors.BackendUnavailableError("milvus is away")

    probe.act = act
    async with start() as running:
        assert await running.call("unary") == 1
        assert attempts == 3
