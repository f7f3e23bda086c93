"""One channel to Milvus: calls with a time limit, and whether it can be reached at all.

While Milvus is away, calls are refused at once instead of each finding out by itself. A watcher
follows the channel's own state, so that nothing polls while all is well, and recovery needs no
restart.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import grpc.aio
from pymilvus.grpc_gen import milvus_pb2_grpc

from lookalike_common.context import current_context
from lookalike_common.errors import LookalikeError
from lookalike_search.adapters.milvus.failures import (
    MilvusFailure,
    check_answer,
    translate_rpc_error,
    unavailable,
)
from lookalike_search.adapters.milvus.names import database_name

_logger = logging.getLogger(__name__)

# Any: messages of all calls go through the one path; their types are fixed where they are built.
Message = Any

_DEFAULT_PORT: Final = 19530
_STUCK: Final = timedelta(seconds=2)
"""A connection that takes longer to open counts as away."""
_PROBE_LIMIT: Final = timedelta(seconds=5)
_PROBE_AGAIN: Final = timedelta(seconds=0.5)


@dataclass(frozen=True, slots=True)
class Target:
    """Where Milvus is."""

    address: str
    tls: bool

    @classmethod
    def parse(cls, uri: str) -> Target:
        """Read `http://host:port`, `https://…`, `tcp://…` or `host:port`; ValueError if wrong."""
        url = urlsplit(uri if "://" in uri else f"tcp://{uri}")
        if url.scheme not in {"http", "https", "tcp"} or not url.hostname or url.path.strip("/"):
            raise ValueError(f"not the URI of a Milvus server: {uri!r}")
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        return cls(f"{host}:{url.port or _DEFAULT_PORT}", url.scheme == "https")


class MilvusConnection:
    """Milvus at one URI. Open it with `async with`."""

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        call_limit: timedelta = timedelta(seconds=30),
        on_ready: Callable[[], Awaitable[None]],
        on_change: Callable[[bool], None],
    ) -> None:
        self._target = Target.parse(uri)
        self._authorization = base64.b64encode(token.encode()).decode() if token else ""
        self._call_limit = call_limit
        self._on_ready = on_ready
        self._on_change = on_change
        self._available = asyncio.Event()
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None  # the generated stub, which has no types
        self._watcher: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """Whether Milvus could be reached a moment ago."""
        return self._available.is_set()

    async def open(self) -> None:
        """Begin to connect; returns at once."""
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # A Milvus that comes back elsewhere, as pods do, is looked up anew without long waits.
            ("grpc.dns_min_time_between_resolutions_ms", 1000),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ]
        address = self._target.address
        if self._target.tls:
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.aio.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(address, options)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)
        self._watcher = asyncio.create_task(self._watch(self._channel), name="milvus-watch")

    async def close(self) -> None:
        """Disconnect."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait((self._watcher,))
        if self._channel is not None:
            await self._channel.close()

    async def wait_until_available(self, limit: timedelta) -> bool:
        """Wait for Milvus, at most so long; tell whether it is there."""
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await self._available.wait()
        except TimeoutError:
            return False
        return True

    async def call(
        self, name: str, request: Message, *, tenant: str = "", to_the_end: bool = False
    ) -> Message:
        """Call an rpc in a tenant's database and return its answer.

        Raises `MilvusFailure` for an answer that is no success, and an error of the common tree
        when there is no answer. With `to_the_end` the caller's deadline does not cut it short.
        """
        if not self.available:
            raise unavailable()
        limit = self._call_limit
        remaining = None if to_the_end else current_context().remaining()
        if remaining is not None:
            limit = min(limit, remaining)
        return await self._call(name, request, database_name(tenant), limit)

    async def probe(self, name: str, request: Message, *, database: str) -> Message:
        """Call an rpc while it is not known yet whether Milvus is there."""
        return await self._call(name, request, database, _PROBE_LIMIT)

    async def _call(self, name: str, request: Message, database: str, limit: timedelta) -> Message:
        metadata = [("dbname", database)]
        if self._authorization:
            metadata.append(("authorization", self._authorization))
        try:
            answer = await self._invoke(name, request, metadata, limit)
        except grpc.aio.AioRpcError as error:
            raise translate_rpc_error(name, error) from error
        check_answer(name, answer)
        return answer

    async def _invoke(
        self, name: str, request: Message, metadata: list[tuple[str, str]], limit: timedelta
    ) -> Message:
        rpc = getattr(self._stub, name)
        try:
            return await rpc(request, timeout=limit.total_seconds(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            # Servers that find our keepalive pings too many end the connection; all our calls
            # can be repeated.
            if "too_many_pings" not in str(error.details()):
                raise
            return await rpc(request, timeout=limit.total_seconds(), metadata=metadata)

    async def _watch(self, channel: grpc.aio.Channel) -> None:
        """Follow the channel's state for ever."""
        while True:
            state = channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                if not await self._become_available():
                    await asyncio.sleep(_PROBE_AGAIN.total_seconds())
                    continue
            elif state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                self._become_unavailable()
            await self._wait_for_change(channel, state)

    async def _wait_for_change(
        self, channel: grpc.aio.Channel, state: grpc.ChannelConnectivity
    ) -> None:
        connecting = state is grpc.ChannelConnectivity.CONNECTING
        try:
            async with asyncio.timeout(_STUCK.total_seconds() if connecting else None):
                await channel.wait_for_state_change(state)
        except TimeoutError:
            self._become_unavailable()
            await channel.wait_for_state_change(state)

    async def _become_available(self) -> bool:
        if self.available:
            return True
        try:
            await self._on_ready()
        except (LookalikeError, MilvusFailure) as error:
            _logger.warning("Milvus at %s is not ready: %s", self._target.address, error)
            return False
        _logger.info("Milvus at %s is there", self._target.address)
        self._available.set()
        self._on_change(True)
        return True

    def _become_unavailable(self) -> None:
        if self.available:
            _logger.warning("Milvus at %s is away", self._target.address)
            self._available.clear()
            self._on_change(False)
