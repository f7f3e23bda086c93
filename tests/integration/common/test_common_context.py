"""Request ids, tenants, deadlines and traces from call to call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lookalike_common import errors
from lookalike_common.context import RequestContext, current_context, use_context
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually, loopback

if TYPE_CHECKING:
    from tests.integration.common.conftest import Probe, Running, Start


async def test_a_request_id_is_taken_over_and_returned(start: Start, probe: Probe) -> None:
    async with start() as running:
        call = running.read(metadata=(("x-request-id", "r-1"),))
        assert [each.data async for each in call]
        assert dict(await call.trailing_metadata())["x-request-id"] == "r-1"
        assert probe.contexts[0].request_id == "r-1"
        assert probe.contexts[0].method == "/lookalike.asset.v1.AssetService/ReadAsset"


@pytest.mark.parametrize("given", ["", "a b", "x" * 200, 'a"b'])
async def test_an_unfit_request_id_is_replaced(start: Start, probe: Probe, given: str) -> None:
    async with start() as running:
        await running.call("unary", metadata=(("x-request-id", given),))
        made = probe.contexts[0].request_id
        assert len(made) == 32
        assert made != given


@pytest.mark.parametrize("kind", ["unary", "client_stream", "server_stream", "bidi_stream"])
async def test_a_channel_carries_id_and_deadline(start: Start, probe: Probe, kind: str) -> None:
    with use_context(RequestContext(request_id="job-7")):
        async with start() as running:
            await running.call(kind, timeout=5)
    context = probe.contexts[0]
    assert context.request_id == "job-7"
    remaining = context.remaining()
    assert remaining is not None
    assert timedelta(0) < remaining <= timedelta(seconds=5)


async def test_a_handler_calling_on_passes_its_context(start: Start, probe: Probe) -> None:
    async with start() as second, start() as first:
        inner = second

        async def act() -> None:
            probe.act = nothing
            await inner.call("unary", timeout=60)

        async def nothing() -> None: ...

        probe.act = act
        await first.call("unary", timeout=3, metadata=(("x-request-id", "r-9"),))
    outer_context, inner_context = probe.contexts
    assert inner_context.request_id == outer_context.request_id == "r-9"
    assert outer_context.deadline is not None
    assert inner_context.deadline is not None
    assert inner_context.deadline <= outer_context.deadline + 0.1


async def test_calls_have_the_deadline_of_their_target(start: Start, probe: Probe) -> None:
    async def act() -> None:
        await asyncio.Event().wait()

    probe.act = act
    target = loopback(0).model_copy(update={"deadline": timedelta(seconds=0.2)})
    async with start(target) as running:
        failure = await running.failure("unary")
        assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_streams_have_no_deadline_of_their_own(start: Start, probe: Probe) -> None:
    async with start() as running:
        await running.call("server_stream")
        await running.call("bidi_stream")
        await running.call("client_stream")
    assert {context.deadline for context in probe.contexts} == {None}


async def test_contexts_do_not_mix_and_do_not_stay(start: Start, probe: Probe) -> None:
    seen = []

    async def act() -> None:
        await asyncio.sleep(0)
        seen.append(current_context().request_id)

    probe.act = act
    async with start() as running:
        ids = [f"r-{n}" for n in range(20)]
        await asyncio.gather(
            *(running.call("unary", metadata=(("x-request-id", each),)) for each in ids)
        )
    assert sorted(seen) == sorted(ids)
    assert current_context().request_id == ""


async def test_log_lines_of_refused_calls_tell_why(
    start: Start, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> None:
        raise errors.NotFoundError("no such asset")

    probe.act = act
    with caplog.at_level(logging.INFO, "lookalike.access"):
        async with start() as running:
            await running.failure("unary")
            await assert_eventually(lambda: _access_lines(caplog))
    (record,) = _access_lines(caplog)
    assert record.getMessage() == "/lookalike.asset.v1.AssetService/GetAsset NOT_FOUND"
    assert record.__dict__["error"] == "no such asset"


async def test_defects_are_logged_with_their_traceback(
    start: Start, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> None:
        raise KeyError("defect")

    probe.act = act
    async with start() as running:
        await running.failure("unary")
        await assert_eventually(lambda: _access_lines(caplog))
    record = _access_lines(caplog)[-1]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


@asynccontextmanager
async def traced(
    monkeypatch: pytest.MonkeyPatch, start: Start
) -> AsyncIterator[tuple[Running, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    async with start() as running:
        yield running, exporter
    provider.shutdown()


async def test_a_trace_goes_from_hop_to_hop(
    start: Start, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with traced(monkeypatch, start) as (running, exporter):

        async def act() -> None:
            probe.act = fail
            await running.call("unary")

        async def fail() -> None:
            raise RuntimeError

        probe.act = act
        error = error_from_rpc(await running.failure("bidi_stream"))
        assert type(error) is errors.InternalError
        await assert_eventually(lambda: len(exporter.get_finished_spans()) == 2)
        inner, outer = exporter.get_finished_spans()
    assert outer.name == "lookalike.encoder.v1.EncoderService/StreamEncode"
    assert inner.name == "lookalike.asset.v1.AssetService/GetAsset"
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert inner.status.status_code is trace.StatusCode.ERROR


def _access_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the access log's lines; gRPC's own logger may have something to say, too."""
    return [record for record in caplog.records if record.name == "lookalike.access"]
