"""Runs the policies around handlers: one flat wrapper for each of the four kinds of rpc.

Handlers are wrapped when a server is assembled, so a call pays for the hooks and nothing else:
no interceptor lookup, no nested continuations. The wrappers take and return bytes, so that
parsing and serializing are under the same care for errors as the handler.

Unary handlers are coroutine functions; streaming ones are async generators.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from lookalike_common.context import REQUEST_ID_HEADER
from lookalike_common.errors import Code, InvalidArgumentError, LookalikeError, UnimplementedError
from lookalike_common.policies._policy import Call, Context, Method, Policy
from lookalike_common.status import DETAILS_KEY, to_status

_logger = logging.getLogger(__name__)
_STATUS_CODES: Final[Mapping[int, grpc.StatusCode]] = {
    code.value[0]: code for code in grpc.StatusCode
}
_KINDS: Final = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}

# Any: the chain serves handlers of every message type.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Parse = Callable[[bytes], Any]
Serialize = Callable[[Any], bytes]
Unary = Callable[[Any, Context], Awaitable[Any]]
Streaming = Callable[[Any, Context], Any]
# Any: gRPC's types know synchronous handlers only.
Behaviour = Any

_NO_REPLY: Final = b""
"""What a handler returns after it has aborted its call; it is not sent."""

_RAISED: Final = (Exception, asyncio.CancelledError)
"""Everything that may end a call, but not the end of the process or of the event loop."""


class PolicyChain:
    """Policies in their order; the first sees a call first and its end last."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._starts = [policy.start for policy in policies]
        self._checks = [p.message for p in policies if type(p).message is not Policy.message]
        self._failures = [policy.failed for policy in policies]
        self._finishes = [policy.finish for policy in policies]

    def wrap(self, service: str, name: str, handler: Handler) -> Handler:
        """Return a handler of the same kind that runs the policies around the given one."""
        kind = _KINDS[handler.request_streaming, handler.response_streaming]
        method = Method(service, name, kind)
        parse = handler.request_deserializer or _unchanged
        serialize = handler.response_serializer or _unchanged
        if kind == "unary":
            unary = self._unary(method, _coroutine(handler.unary_unary, method), parse, serialize)
            return grpc.unary_unary_rpc_method_handler(unary)
        if kind == "client_stream":
            own = _coroutine(handler.stream_unary, method)
            unary = self._client_stream(method, own, parse, serialize)
            return grpc.stream_unary_rpc_method_handler(unary)
        if kind == "server_stream":
            generator = _generator(handler.unary_stream, method)
            streaming = self._server_stream(method, generator, parse, serialize)
            return grpc.unary_stream_rpc_method_handler(streaming)
        generator = _generator(handler.stream_stream, method)
        streaming = self._bidi_stream(method, generator, parse, serialize)
        return grpc.stream_stream_rpc_method_handler(streaming)

    def _unary(
        self, method: Method, handler: Unary, parse: Parse, serialize: Serialize
    ) -> Behaviour:
        async def serve(raw: bytes, context: Context) -> bytes:
            call = Call(method, context)
            try:
                self._start(call)
                request = await self._receive(call, parse, raw)
                return serialize(await handler(request, context))
            except _RAISED as error:
                await self._fail(call, error)
                return _NO_REPLY
            finally:
                self._finish(call)

        return serve

    def _client_stream(
        self, method: Method, handler: Unary, parse: Parse, serialize: Serialize
    ) -> Behaviour:
        async def serve(raws: AsyncIterator[bytes], context: Context) -> bytes:
            call = Call(method, context)
            try:
                self._start(call)
                async with aclosing(self._receive_all(call, parse, raws)) as requests:
                    return serialize(await handler(requests, context))
            except _RAISED as error:
                await self._fail(call, error)
                return _NO_REPLY
            finally:
                self._finish(call)

        return serve

    def _server_stream(
        self, method: Method, handler: Streaming, parse: Parse, serialize: Serialize
    ) -> Behaviour:
        async def serve(raw: bytes, context: Context) -> None:
            call = Call(method, context)
            try:
                self._start(call)
                request = await self._receive(call, parse, raw)
                async with aclosing(handler(request, context)) as replies:
                    async for reply in replies:
                        await context.write(serialize(reply))
            except _RAISED as error:
                await self._fail(call, error)
            finally:
                self._finish(call)

        return serve

    def _bidi_stream(
        self, method: Method, handler: Streaming, parse: Parse, serialize: Serialize
    ) -> Behaviour:
        async def serve(raws: AsyncIterator[bytes], context: Context) -> None:
            call = Call(method, context)
            try:
                self._start(call)
                async with (
                    aclosing(self._receive_all(call, parse, raws)) as requests,
                    aclosing(handler(requests, context)) as replies,
                ):
                    async for reply in replies:
                        await context.write(serialize(reply))
            except _RAISED as error:
                await self._fail(call, error)
            finally:
                self._finish(call)

        return serve

    def _start(self, call: Call) -> None:
        for start in self._starts:
            start(call)
            call.depth += 1

    async def _receive(self, call: Call, parse: Parse, raw: bytes) -> Message:
        try:
            message: Message = parse(raw)
        except DecodeError as error:
            raise InvalidArgumentError("the request is no valid protobuf message") from error
        for check in self._checks:
            waiting = check(call, message, len(raw))
            if waiting is not None:
                await waiting
        return message

    async def _receive_all(
        self, call: Call, parse: Parse, raws: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        async for raw in raws:
            yield await self._receive(call, parse, raw)

    async def _fail(self, call: Call, error: BaseException) -> None:
        """End a call with the status of an error; raise only when that is not possible.

        gRPC keeps the exception of an abort and raises it again after the handler. It must not
        hold on to our frames, which hold requests: that would be a cycle until the next collection.
        """
        call.error = error
        try:
            if isinstance(error, grpc.aio.AbortError):
                call.code = Code(call.context.code().value[0])
                raise error
            await _abort(call, self._outcome(call, error))
        except grpc.aio.AbortError as aborted:
            aborted.__traceback__ = aborted.__context__ = None
        except grpc.aio.BaseError:
            if isinstance(error, asyncio.CancelledError):
                raise error from None
            raise

    def _outcome(self, call: Call, error: BaseException) -> LookalikeError:
        outcome = error
        # The policy that refused the call may translate its own error as well.
        for failed in reversed(self._failures[: call.depth + 1]):
            outcome = failed(call, outcome)
        if not isinstance(outcome, LookalikeError):
            raise outcome
        return outcome

    def _finish(self, call: Call) -> None:
        for finish in reversed(self._finishes[: call.depth]):
            try:
                finish(call)
            except Exception:
                _logger.exception("a policy failed at the end of a call")
        call.error = None


async def _abort(call: Call, outcome: LookalikeError) -> None:
    call.code = outcome.code
    request_id = call.request.request_id
    status = to_status(outcome, request_id)
    trailers = ((DETAILS_KEY, status.SerializeToString()), (REQUEST_ID_HEADER, request_id))
    await call.context.abort(_STATUS_CODES[outcome.code], status.message, trailers)


def _coroutine(handler: Behaviour, method: Method) -> Unary:
    if _is_generated(handler):

        async def unimplemented(_request: object, _context: Context) -> NoReturn:
            raise UnimplementedError(f"{method.name} is not served here")

        return unimplemented
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(f"{method.path} must be a coroutine function (async def, return)")
    return cast(Unary, handler)


def _generator(handler: Behaviour, method: Method) -> Streaming:
    if _is_generated(handler):

        async def unimplemented(requests: object, _context: Context) -> AsyncIterator[object]:
            if requests is not None:
                raise UnimplementedError(f"{method.name} is not served here")
            yield None

        return unimplemented
    if not inspect.isasyncgenfunction(handler):
        raise TypeError(f"{method.path} must be an async generator (async def, yield)")
    return cast(Streaming, handler)


def _is_generated(handler: Behaviour) -> bool:
    """Tell whether a servicer has left a method as the generated class has it."""
    return str(getattr(handler, "__module__", "")).endswith("_pb2_grpc")


def _unchanged(message: bytes) -> bytes:
    return message
