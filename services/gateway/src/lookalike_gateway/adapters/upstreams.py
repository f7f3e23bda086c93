"""Calls to the services behind the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from lookalike_common.auth import AUTHORIZATION
from lookalike_common.channels import open_channel
from lookalike_common.errors import BackendUnavailableError, LookalikeError, NotFoundError
from lookalike_common.settings import TargetSettings
from lookalike_common.status import DETAILS_KEY, error_from_rpc
from lookalike_gateway.transcoding.api import Rpc

_logger = logging.getLogger(__name__)
_HEALTH: Final = "/grpc.health.v1.Health/Check"
_PACKAGES: Final[Mapping[str, str]] = {
    "lookalike.encoder.v1": "encoder",
    "lookalike.search.v1": "search",
    "lookalike.asset.v1": "ingest",
    "lookalike.ingest.v1": "ingest",
}
"""Who serves what, by proto package."""

OWN_NAME: Final = "gateway"
"""What GetServerInfo calls the gateway itself."""

_EVERYWHERE: Final = "lookalike.type.v1"
"""The package that all servers serve; the request's `name` says which one is meant."""

# Any: calls of all message types; gRPC's own stubs are generated for one each.
UnaryCall: TypeAlias = "grpc.aio.UnaryUnaryCall[Any, Any]"
StreamCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, Any]"


class Upstreams:
    """One channel to each service, and the table that says which rpc goes where."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._channels = channels
        # Any: multi-callables of all message types.
        self._callables: dict[tuple[str, str], Any] = {}
        self._health = {
            name: channel.unary_unary(
                _HEALTH,
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            for name, channel in channels.items()
        }

    @classmethod
    @asynccontextmanager
    async def opened(cls, targets: Mapping[str, TargetSettings]) -> AsyncIterator[Upstreams]:
        """Open the channels; they connect at the first call, and are closed after the block."""
        async with AsyncExitStack() as stack:
            yield cls(
                {
                    name: await stack.enter_async_context(open_channel(target))
                    for name, target in targets.items()
                }
            )

    def unary(self, rpc: Rpc, request: Message, authorization: str) -> UnaryCall:
        """Begin a call with one reply; the running context has its deadline and request id."""
        call: UnaryCall = self._callable(rpc, request)(request, metadata=_metadata(authorization))
        return call

    def stream(self, rpc: Rpc, request: Message, authorization: str) -> StreamCall:
        """Begin a call with streamed replies."""
        call: StreamCall = self._callable(rpc, request)(request, metadata=_metadata(authorization))
        return call

    async def serving(self, timeout: timedelta) -> dict[str, bool]:  # noqa: ASYNC109 - one for each
        """Tell of each service whether it says, within `timeout`, that it serves."""
        names = list(self._health)
        states = await asyncio.gather(*(self._is_serving(name, timeout) for name in names))
        return dict(zip(names, states, strict=True))

    async def _is_serving(self, name: str, limit: timedelta) -> bool:
        try:
            reply = await self._health[name](
                health_pb2.HealthCheckRequest(), timeout=limit.total_seconds()
            )
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def _callable(self, rpc: Rpc, request: Message) -> Any:  # noqa: ANN401 - see _callables
        name = service_of(rpc, request)
        known = self._callables.get((name, rpc.path))
        if known is None:
            channel = self._channels[name]
            kind = channel.unary_stream if rpc.streams_replies else channel.unary_unary
            known = self._callables[name, rpc.path] = kind(
                rpc.path,
                request_serializer=rpc.request.SerializeToString,
                response_deserializer=rpc.reply.FromString,
            )
        return known


def service_of(rpc: Rpc, request: Message) -> str:
    """Return who serves an rpc, perhaps OWN_NAME; NotFoundError for a server that is none."""
    if rpc.package == _EVERYWHERE:
        name = str(getattr(request, "name", "")).removeprefix("servers/")
        if name == OWN_NAME or name in _PACKAGES.values():
            return name
        raise NotFoundError(
            "there is no such server", resource_type="server", resource_name=f"servers/{name}"
        )
    return _PACKAGES[rpc.package]


def upstream_error(error: grpc.RpcError, name: str) -> LookalikeError:
    """Return what a failed call means to our caller, who need not know where the services live."""
    known = error_from_rpc(error)
    if isinstance(known, BackendUnavailableError) and not _has_details(error):
        _logger.warning("%s cannot be reached: %s", name, known)
        return BackendUnavailableError(f"the {name} service cannot be reached")
    return known


def _has_details(error: grpc.RpcError) -> bool:
    trailers = error.trailing_metadata() if isinstance(error, grpc.aio.AioRpcError) else None
    return any(key == DETAILS_KEY for key, _ in trailers or ())


def unserved(rpcs: Iterable[Rpc]) -> list[str]:
    """Return the packages that the table does not know."""
    return sorted({each.package for each in rpcs} - {*_PACKAGES, _EVERYWHERE})


def _metadata(authorization: str) -> tuple[tuple[str, str], ...]:
    return ((AUTHORIZATION, authorization),) if authorization else ()
