"""Opens channels to other services, the way every client of the suite should.

A channel carries the request id, the tenant, the trace and the remaining time of the call being
served over to the next service. It does so around the multi-callables instead of by gRPC's client
interceptors, which would cost a task per call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, cast

import grpc
import grpc.aio
from opentelemetry.propagate import inject

from lookalike_common.auth import AUTHORIZATION, TENANT_HEADER
from lookalike_common.context import REQUEST_ID_HEADER, current_context
from lookalike_common.settings import ClientTlsSettings, TargetSettings
from lookalike_common.telemetry import active_tracer

# Any: the channel passes calls of all message types on as they are.
Invocation = Any

Headers = Sequence[tuple[str, str]]


def open_channel(target: TargetSettings, *, health_checked: bool = True) -> grpc.aio.Channel:
    """Return a channel to a service; it connects at the first call. Close it with `close()`.

    With `health_checked` false, calls also reach a server that says it is not serving.
    """
    options = _options(target, health_checked=health_checked)
    if target.tls is None:
        inner = grpc.aio.insecure_channel(target.address, options)
    else:
        inner = grpc.aio.secure_channel(target.address, _credentials(target.tls), options)
    headers = []
    if target.token_file is not None:
        token = target.token_file.read_text(encoding="utf-8").strip()
        headers.append((AUTHORIZATION, f"Bearer {token}"))
    carrying = _CarryingChannel(inner, target.deadline.total_seconds(), headers)
    return cast(grpc.aio.Channel, carrying)


def _options(target: TargetSettings, *, health_checked: bool) -> list[tuple[str, str | int]]:
    # The same as the published `clients/service-config.json`; a test keeps them equal.
    config = json.loads(files("lookalike_common").joinpath("service_config.json").read_text())
    if not health_checked:
        del config["healthCheckConfig"]
    size = int(target.max_message_bytes)
    keepalive = target.keepalive
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", size),
        ("grpc.max_send_message_length", size),
        # Else requests over 256 KiB would not be retried.
        ("grpc.per_rpc_retry_buffer_size", size),
        # Servers that moved, as pods do in a rollout, are looked up anew without long waits.
        ("grpc.dns_min_time_between_resolutions_ms", 1000),
        # Else a server that was away for a while is not tried again for up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.keepalive_time_ms", int(keepalive.time.total_seconds() * 1000)),
        ("grpc.keepalive_timeout_ms", int(keepalive.timeout.total_seconds() * 1000)),
    ]


def _credentials(tls: ClientTlsSettings) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca),
        private_key=_read(tls.key),
        certificate_chain=_read(tls.certificate),
    )


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()


class _Carrying:
    """One rpc of a channel: adds headers and time limit to each call."""

    def __init__(
        self,
        inner: Invocation,
        headers: Headers,
        *,
        seconds: float | None = None,
        streamed: bool = False,
    ) -> None:
        self._inner = inner
        self._headers = headers
        self._seconds = seconds
        self._streamed = streamed

    def __call__(
        self,
        request: object = None,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
        **options: object,
    ) -> Invocation:
        """Begin the call; what the caller passes wins, but for a longer time than is left."""
        given = tuple(metadata or ())
        call = self._inner(
            request,
            timeout=self._time_limit(timeout),
            metadata=(*given, *self._carried({key for key, _ in given})),
            **options,
        )
        return _Replies(call) if self._streamed else call

    def _time_limit(self, given: float | None) -> float | None:
        remaining = current_context().remaining()
        own = self._seconds if given is None else given
        if remaining is None:
            return own
        left = remaining.total_seconds()
        return left if own is None else min(own, left)

    def _carried(self, given: set[str]) -> Iterable[tuple[str, str]]:
        context = current_context()
        headers = [*self._headers]
        if context.request_id:
            headers.append((REQUEST_ID_HEADER, context.request_id))
        if context.tenant:
            headers.append((TENANT_HEADER, context.tenant))
        if active_tracer() is not None:
            carrier: dict[str, str] = {}
            inject(carrier)
            headers.extend(carrier.items())
        return (header for header in headers if header[0] not in given)


class _Replies:
    """A call whose replies are streamed, which ends when its reader is cancelled.

    gRPC's own forgets to when the reader is cancelled while the call is being set up: one in ten
    went on at the server until garbage collection.
    """

    def __init__(self, call: Invocation) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Invocation:
        return getattr(self._call, name)

    async def __aiter__(self) -> AsyncIterator[Invocation]:
        try:
            async for reply in self._call:
                yield reply
        finally:
            self._call.cancel()

    async def read(self) -> Invocation:
        """Return the next reply or `grpc.aio.EOF`."""
        try:
            return await self._call.read()
        except asyncio.CancelledError:
            self._call.cancel()
            raise


class _CarryingChannel:
    """A channel whose calls carry the context of the call being served."""

    def __init__(self, inner: grpc.aio.Channel, seconds: float, headers: Headers) -> None:
        self._inner = inner
        self._seconds = seconds
        self._headers = headers

    def unary_unary(self, *args: Invocation, **options: Invocation) -> Invocation:
        """Return a callable for an rpc with one request and one reply."""
        inner = self._inner.unary_unary(*args, **options)
        return _Carrying(inner, self._headers, seconds=self._seconds)

    def unary_stream(self, *args: Invocation, **options: Invocation) -> Invocation:
        """Return a callable for an rpc with streamed replies."""
        inner = self._inner.unary_stream(*args, **options)
        return _Carrying(inner, self._headers, streamed=True)

    def stream_unary(self, *args: Invocation, **options: Invocation) -> Invocation:
        """Return a callable for an rpc with streamed requests."""
        return _Carrying(self._inner.stream_unary(*args, **options), self._headers)

    def stream_stream(self, *args: Invocation, **options: Invocation) -> Invocation:
        """Return a callable for an rpc with both streamed."""
        inner = self._inner.stream_stream(*args, **options)
        return _Carrying(inner, self._headers, streamed=True)

    def __getattr__(self, name: str) -> Invocation:
        return getattr(self._inner, name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self._inner.close()
