"""One channel to Milvus: calls with a time limit, and whether it can be reached at all.

While Milvus is away, calls are refused at once instead of each finding out by itself. A watcher
follows the channel's own state; that does not show a process that stands still, so a second one
asks `liveness` now and then. Recovery needs no restart.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import grpc
import grpc.aio
from pymilvus.grpc_gen import milvus_pb2_grpc

from lookalike_common.context import current_context
from lookalike_common.errors import BackendUnavailableError, LookalikeError
from lookalike_search.adapters.milvus.failures import (
    MilvusFailure,
    check_answer,
    translate_rpc_error,
    unavailable,
)
from lookalike_search.adapters.milvus.liveness import is_alive
from lookalike_search.adapters.milvus.names import DEFAULT_DATABASE, Databases
from lookalike_search.adapters.milvus.target import Target, TlsFiles

_logger = logging.getLogger(__name__)

# Any: messages of all calls go through the one path; their types are fixed where they are built.
Message = Any

_STUCK: Final = timedelta(seconds=2)
"""A connection that takes longer to open counts as away."""
_PROBE_LIMIT: Final = timedelta(seconds=5)
_PROBE_AGAIN: Final = timedelta(seconds=0.5)
_ASK_EVERY: Final = timedelta(seconds=1)
_ASK_LIMIT: Final = timedelta(seconds=1.5)
_ASK_TIMES: Final = 2
"""Unanswered questions that tell that Milvus stands still: one may be our own fault."""
_REPEATABLE: Final = frozenset(
    {
        *("DescribeCollection", "ShowCollections", "ListDatabases", "GetLoadingProgress"),
        *("LoadCollection", "Query", "Search", "Upsert", "Delete", "Flush"),
    }
)
"""Calls that can be made again when nobody knows what became of them: twice is the same as once."""
_PAUSES: Final = (timedelta(seconds=0.05), timedelta(seconds=0.2), timedelta(seconds=0.6))
"""Before each further try, while Milvus is there and the deadline is not."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A Milvus that comes back elsewhere, as pods do, is looked up anew without long waits.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


class MilvusConnection:
    """Milvus at one URI. Open it with `async with`."""

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        tls: TlsFiles | None = None,
        database: str = DEFAULT_DATABASE,
        call_limit: timedelta = timedelta(seconds=30),
        on_ready: Callable[[], Awaitable[None]],
        on_change: Callable[[bool], None],
    ) -> None:
        self.databases = Databases(database)
        """Whose collections are where."""
        self._target = Target.parse(uri)
        self._tls = tls or TlsFiles()
        self._authorization = base64.b64encode(token.encode()).decode() if token else ""
        self._call_limit = call_limit
        self._on_ready = on_ready
        self._on_change = on_change
        self._available = asyncio.Event()
        self._becoming = asyncio.Lock()
        self._reads: set[grpc.aio.UnaryUnaryCall[Any, Any]] = set()
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None  # the generated stub, which has no types
        self._watchers: list[asyncio.Task[None]] = []

    @property
    def available(self) -> bool:
        """Whether Milvus could be reached a moment ago."""
        return self._available.is_set()

    async def open(self) -> None:
        """Begin to connect, and return at once; raises OSError if a file for TLS is wrong."""
        address = self._target.address
        context = None
        if self._target.tls:
            context = self._tls.context()
            credentials = self._tls.credentials()
            self._channel = grpc.aio.secure_channel(address, credentials, _OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(address, _OPTIONS)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)

        async def ask() -> bool:
            return await is_alive(self._target.host, self._target.port, context, _ASK_LIMIT)

        self._watchers = [
            asyncio.create_task(self._watch(self._channel), name="milvus-watch"),
            asyncio.create_task(self._keep_asking(self._channel, ask), name="milvus-alive"),
        ]

    async def close(self) -> None:
        """Disconnect."""
        for each in self._watchers:
            each.cancel()
        if self._watchers:
            await asyncio.wait(self._watchers)
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
        when there is no answer. With `to_the_end` neither the caller's deadline nor a Milvus that
        stands still cuts it short: nobody can know what becomes of a write that was sent.
        """
        database = self.databases.of(tenant)
        pauses = iter(_PAUSES if name in _REPEATABLE else ())
        while True:
            if not self.available:
                raise unavailable()
            limit = self._limit(to_the_end=to_the_end)
            try:
                return await self._call(name, request, database, limit, can_be_cut=not to_the_end)
            except (BackendUnavailableError, MilvusFailure) as error:
                pause = next(pauses, None)
                momentary = isinstance(error, BackendUnavailableError) or error.is_momentary
                if pause is None or not momentary or pause >= limit:
                    raise
            await asyncio.sleep(pause.total_seconds())

    def _limit(self, *, to_the_end: bool) -> timedelta:
        remaining = None if to_the_end else current_context().remaining()
        return self._call_limit if remaining is None else min(self._call_limit, remaining)

    async def probe(self, name: str, request: Message) -> Message:
        """Call an rpc while it is not known yet whether Milvus is there."""
        return await self._call(name, request, DEFAULT_DATABASE, _PROBE_LIMIT, can_be_cut=False)

    async def _call(
        self, name: str, request: Message, database: str, limit: timedelta, *, can_be_cut: bool
    ) -> Message:
        metadata = [("dbname", database)]
        if self._authorization:
            metadata.append(("authorization", self._authorization))
        try:
            answer = await self._invoke(name, request, metadata, limit, can_be_cut=can_be_cut)
        except grpc.aio.AioRpcError as error:
            raise translate_rpc_error(name, error) from error
        check_answer(name, answer)
        return answer

    async def _invoke(
        self,
        name: str,
        request: Message,
        metadata: list[tuple[str, str]],
        limit: timedelta,
        *,
        can_be_cut: bool,
    ) -> Message:
        rpc = getattr(self._stub, name)
        try:
            call = rpc(request, timeout=limit.total_seconds(), metadata=metadata)
            return await (self._cuttable(call) if can_be_cut else call)
        except grpc.aio.AioRpcError as error:
            # Servers that find our keepalive pings too many end the connection; all our calls
            # can be repeated.
            if "too_many_pings" not in str(error.details()):
                raise
            return await rpc(request, timeout=limit.total_seconds(), metadata=metadata)

    async def _cuttable(self, call: grpc.aio.UnaryUnaryCall[Any, Any]) -> Message:
        """Wait for an answer, or for the news that Milvus stands still."""
        self._reads.add(call)
        try:
            return await call
        except asyncio.CancelledError:
            if call in self._reads:  # our caller left
                raise
            raise unavailable() from None
        finally:
            self._reads.discard(call)

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

    async def _keep_asking(
        self, channel: grpc.aio.Channel, ask: Callable[[], Awaitable[bool]]
    ) -> None:
        """Notice for ever when Milvus begins to stand still, and when it goes on."""
        unanswered = 0
        while True:
            if not 0 < unanswered < _ASK_TIMES:
                await asyncio.sleep(_ASK_EVERY.total_seconds())
            unanswered = 0 if await ask() else unanswered + 1
            if unanswered == _ASK_TIMES:
                self._become_unavailable()
            elif not unanswered and channel.get_state() is grpc.ChannelConnectivity.READY:
                await self._become_available()

    async def _become_available(self) -> bool:
        async with self._becoming:
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
        cut, self._reads = self._reads, set()
        for each in cut:
            each.cancel()
