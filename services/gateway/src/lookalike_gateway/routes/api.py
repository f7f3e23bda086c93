"""All calls of the API: find the route, build the request, call, write the reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lookalike.type.v1.server_info_service_pb2 import GetServerInfoRequest
from lookalike_common.auth import AUTHORIZATION, Tokens
from lookalike_common.errors import InvalidArgumentError, LookalikeError, NotFoundError
from lookalike_common.server_info import ServerInfoServicer
from lookalike_gateway.adapters.upstreams import (
    OWN_NAME,
    StreamCall,
    Upstreams,
    service_of,
    unserved,
    upstream_error,
)
from lookalike_gateway.routes.edge import ROUTE
from lookalike_gateway.routes.responses import JsonResponse, error_response
from lookalike_gateway.settings import GatewaySettings
from lookalike_gateway.transcoding.api import Api, Match, Route, RouteTable
from lookalike_gateway.transcoding.http_errors import (
    BodyTooLargeError,
    ClientGoneError,
    MethodNotAllowedError,
    UnsupportedContentTypeError,
    error_json,
)
from lookalike_gateway.transcoding.messages import build_request, reply_json

_JSON: Final = "application/json"
_JSON_LINES: Final = "application/x-ndjson"
_PUBLIC: Final = "lookalike.type.v1.ServerInfoService"
"""Needs no token, as with the services themselves, which check tokens in any case."""

_Result = TypeVar("_Result")


class ApiEndpoint:
    """Serves every path that an rpc's annotation names."""

    def __init__(
        self, api: Api, upstreams: Upstreams, info: ServerInfoServicer, settings: GatewaySettings
    ) -> None:
        unknown = unserved(route.rpc for route in api.routes)
        if unknown:
            raise ValueError(f"no service is known to serve {', '.join(unknown)}")
        self._pool = api.pool
        self._info = info
        self._table = RouteTable(api.routes)
        self._upstreams = upstreams
        self._max_body = int(settings.max_body_bytes)
        self._off_loop = int(settings.transcode_off_loop_bytes)
        tokens_file = settings.server.auth.tokens_file
        self._tokens = None if tokens_file is None else Tokens.load(tokens_file)

    async def serve(self, request: Request) -> Response:
        """Answer one request."""
        try:
            return await self._answer(request)
        except LookalikeError as error:
            return error_response(error)

    async def _answer(self, request: Request) -> Response:
        match = self._match(request)
        request.scope[ROUTE] = match.route.template.text
        authorization = request.headers.get(AUTHORIZATION, "")
        if self._tokens is not None and match.route.rpc.service != _PUBLIC:
            self._tokens.identify({AUTHORIZATION: authorization})
        body = await self._body(request, match.route)
        query = request.scope["query_string"].decode("latin-1")
        message = await self._converted(
            len(body), lambda: build_request(match, query, body, self._pool)
        )
        if match.route.rpc.streams_replies:
            return await self._stream(request, match.route, message, authorization)
        return await self._unary(request, match.route, message, authorization)

    def _match(self, request: Request) -> Match:
        raw = request.scope.get("raw_path") or request.scope["path"].encode()
        path = raw.decode("latin-1")
        try:
            match = self._table.match(request.method, path)
        except UnicodeDecodeError:
            raise InvalidArgumentError("the path is not UTF-8") from None
        if match is not None:
            return match
        verbs = self._table.verbs(path)
        if verbs:
            raise MethodNotAllowedError(verbs)
        raise NotFoundError("no call has this path", resource_type="path", resource_name=path[:200])

    async def _body(self, request: Request, route: Route) -> bytes:
        """Read the body; refuse one that is too long before all of it has come."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._max_body:
                raise self._too_large()
            chunks.append(chunk)
        body = b"".join(chunks)
        if not route.body:
            if body:
                raise InvalidArgumentError("this call takes no body")
            return b""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != _JSON:
            raise UnsupportedContentTypeError(
                f"the body must be announced as content-type: {_JSON}", field="content-type"
            )
        return body

    def _too_large(self) -> LookalikeError:
        return BodyTooLargeError(f"the body may have {self._max_body} bytes")

    async def _converted(self, size: int, work: Callable[[], _Result]) -> _Result:
        """Do work on a message of about `size` bytes where it holds nobody up."""
        return work() if size <= self._off_loop else await asyncio.to_thread(work)

    async def _unary(
        self, request: Request, route: Route, message: Message, authorization: str
    ) -> Response:
        reply: Message
        service = service_of(route.rpc, message)
        if service == OWN_NAME:
            own = GetServerInfoRequest.FromString(message.SerializeToString())
            reply = await self._info.GetServerInfo(own, None)
        else:
            call = self._upstreams.unary(route.rpc, message, authorization)
            async with _watched(request.receive, call, service):
                reply = await call
        size = reply.ByteSize()
        return JsonResponse(
            await self._converted(size, lambda: reply_json(route, reply, self._pool))
        )

    async def _stream(
        self, request: Request, route: Route, message: Message, authorization: str
    ) -> Response:
        """Wait for the first reply, so that an error before it has its HTTP status."""
        service = service_of(route.rpc, message)
        call = self._upstreams.stream(route.rpc, message, authorization)
        async with _watched(request.receive, call, service):
            first = await call.read()
        return _Lines(call, service, first, lambda reply: reply_json(route, reply, self._pool))


class _Lines(Response):
    """Streamed replies, one line of JSON each; the upstream call ends with the response."""

    def __init__(
        self,
        call: StreamCall,
        service: str,
        first: Any,  # noqa: ANN401 - a message, or gRPC's mark for the end
        to_json: Callable[[Message], bytes],
    ) -> None:
        super().__init__(media_type=_JSON_LINES)
        del self.headers["content-length"]
        self._call = call
        self._service = service
        self._first = first
        self._to_json = to_json

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 - part of ASGI
        receive: Receive,
        send: Send,
    ) -> None:
        """Send line after line, until the end or until the caller leaves."""
        with suppress(ClientGoneError):
            await self._send_all(receive, send)

    async def _send_all(self, receive: Receive, send: Send) -> None:
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            async with _watched(receive, self._call, self._service):
                async for line in self._lines():
                    await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._call.cancel()

    async def _lines(self) -> AsyncIterator[bytes]:
        """Yield the replies as lines; an error that comes later is the last one."""
        reply = self._first
        try:
            while reply is not grpc.aio.EOF:
                yield self._to_json(reply) + b"\n"
                reply = await self._call.read()
        except grpc.RpcError as error:
            yield error_json(upstream_error(error, self._service)) + b"\n"


@asynccontextmanager
async def _watched(receive: Receive, call: grpc.aio.Call, service: str) -> AsyncIterator[None]:
    """Cancel the upstream call when the caller disconnects during the block.

    Errors of the call become ours; if it was cancelled for this reason, ClientGoneError.
    """
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        call.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except grpc.RpcError as error:
        raise upstream_error(error, service) from error
    except asyncio.CancelledError:
        if gone:
            raise ClientGoneError("the caller went away") from None
        call.cancel()
        raise
    finally:
        watcher.cancel()
