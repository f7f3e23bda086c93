"""A server whose handlers, one of each kind, do what a test tells them."""

# ruff: noqa: N802 - rpcs have the names that the protos give them

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from lookalike.asset.v1 import asset_pb2, asset_service_pb2, asset_service_pb2_grpc
from lookalike.encoder.v1 import encoder_service_pb2, encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2
from lookalike_common.channels import open_channel
from lookalike_common.context import RequestContext, current_context
from lookalike_common.server import GrpcServer, Service
from lookalike_common.settings import TargetSettings
from lookalike_common.testing import loopback, running, server_settings

ASSETS = "lookalike.asset.v1.AssetService"
ENCODER = "lookalike.encoder.v1.EncoderService"
NAME = "assets/" + "0" * 64

Act = Callable[[], Awaitable[None]]
Context = grpc.aio.ServicerContext[Any, Any]


async def nothing() -> None:
    """Do nothing."""


class Probe(
    asset_service_pb2_grpc.AssetServiceServicer, encoder_service_pb2_grpc.EncoderServiceServicer
):
    """One handler of each kind; each calls `act` after it saw its first message."""

    def __init__(self) -> None:
        self.act: Act = nothing
        self.contexts: list[RequestContext] = []
        self.grpc_context: Context | None = None
        self.called = asyncio.Event()

    async def _called(self, context: Context) -> None:
        self.grpc_context = context
        self.contexts.append(current_context())
        self.called.set()
        await self.act()

    async def GetAsset(
        self, request: asset_service_pb2.GetAssetRequest, context: Context
    ) -> asset_pb2.Asset:
        await self._called(context)
        return asset_pb2.Asset(name=request.name)

    async def UploadChunk(
        self,
        request_iterator: AsyncIterator[asset_service_pb2.UploadChunkRequest],
        context: Context,
    ) -> asset_pb2.Upload:
        received = 0
        async for request in request_iterator:
            received += len(request.data)
            await self._called(context)
        return asset_pb2.Upload(committed_bytes=received)

    async def ReadAsset(
        self, request: asset_service_pb2.ReadAssetRequest, context: Context
    ) -> AsyncIterator[asset_service_pb2.ReadAssetResponse]:
        yield asset_service_pb2.ReadAssetResponse(data=request.name.encode())
        await self._called(context)
        yield asset_service_pb2.ReadAssetResponse(data=b"end")

    async def StreamEncode(
        self, request_iterator: AsyncIterator[encoder_service_pb2.EncodeRequest], context: Context
    ) -> AsyncIterator[encoder_service_pb2.EncodeResponse]:
        async for request in request_iterator:
            await self._called(context)
            yield encoder_service_pb2.EncodeResponse(encoder=request.encoder)


class Running:
    """A running server with the probe behind it, and the stubs of a channel to it."""

    def __init__(self, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.channel = channel
        self.assets = asset_service_pb2_grpc.AssetServiceStub(channel)
        self.encoder = encoder_service_pb2_grpc.EncoderServiceStub(channel)

    async def call(self, kind: str, name: str = NAME, **options: Any) -> int:
        """Make one call of a kind; return how many replies came."""
        match kind:
            case "unary":
                request = asset_service_pb2.GetAssetRequest(name=name)
                reply = await self.assets.GetAsset(request, **options)
                return int(reply.name == name)
            case "client_stream":
                upload_call = self.assets.UploadChunk(**options)
                await upload_call.write(asset_service_pb2.UploadChunkRequest(data=b"ab"))
                return int((await self._finished(upload_call)).committed_bytes == 2)
            case "server_stream":
                wanted = asset_service_pb2.ReadAssetRequest(name=name)
                return len([each async for each in self.assets.ReadAsset(wanted, **options)])
            case _:
                stream = self.encoder.StreamEncode(**options)
                replies = 0
                for text in "ab":
                    await stream.write(self.encode_request(text))
                    replies += await stream.read() is not grpc.aio.EOF
                await stream.done_writing()
                assert await stream.read() is grpc.aio.EOF
                return replies

    @staticmethod
    async def _finished(call: Any) -> asset_pb2.Upload:
        """Return the reply; a server may have ended the call before the client did."""
        with contextlib.suppress(asyncio.InvalidStateError):
            await call.done_writing()
        upload: asset_pb2.Upload = await call
        return upload

    def read(
        self, name: str = NAME, **options: Any
    ) -> grpc.aio.UnaryStreamCall[
        asset_service_pb2.ReadAssetRequest, asset_service_pb2.ReadAssetResponse
    ]:
        """Begin a call with streamed replies."""
        return self.assets.ReadAsset(asset_service_pb2.ReadAssetRequest(name=name), **options)

    async def failure(self, kind: str, **options: Any) -> grpc.aio.AioRpcError:
        """Make one call that must fail; return its error."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(kind, **options)
        return caught.value

    @staticmethod
    def encode_request(*texts: str) -> encoder_service_pb2.EncodeRequest:
        """Return a valid request to encode some texts."""
        contents = [content_pb2.Content(text=each) for each in texts]
        items = [encoder_service_pb2.EncodeItem(content=each) for each in contents]
        return encoder_service_pb2.EncodeRequest(encoder="encoders/a", items=items)

    def handled(self, code: str) -> float:
        """Return how many calls of the probe's services ended with a code."""
        return sum(
            sample.value
            for metric in self.server.registry.collect()
            for sample in metric.samples
            if sample.name == "grpc_server_handled_total"
            and sample.labels["grpc_code"] == code
            and sample.labels["grpc_service"] in (ASSETS, ENCODER)
        )


Start = Callable[..., AbstractAsyncContextManager[Running]]


def _services(probe: Probe) -> list[Service]:
    return [
        Service(ASSETS, asset_service_pb2_grpc.add_AssetServiceServicer_to_server, probe),
        Service(ENCODER, encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server, probe),
    ]


@pytest.fixture
def probe() -> Probe:
    return Probe()  # type: ignore[abstract] # the other rpcs are left out on purpose


@pytest.fixture
def start(probe: Probe) -> Start:
    """Return a function that starts a server with changed settings and opens a channel to it."""

    @asynccontextmanager
    async def started(
        target: TargetSettings | None = None, **changes: object
    ) -> AsyncIterator[Running]:
        settings = server_settings(**changes)
        server = GrpcServer(settings, server_name="encoder", services=_services(probe))
        async with running(server):
            target = target or loopback(0)
            target = target.model_copy(update={"address": f"localhost:{server.port}"})
            async with open_channel(target) as channel:
                yield Running(server, channel)

    return started
