"""Calls any rpc of the API by its name, as the shipped descriptors describe it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from lookalike_common.descriptors import load_image
from lookalike_common.errors import LookalikeError
from lookalike_common.status import error_from_rpc
from lookalike_encoder.adapters.inference_files import inference_files

_PATIENCE = 60.0


def api() -> dict[str, MethodDescriptor]:
    """Return every rpc of the API by `{service}.{method}`."""
    pool = descriptor_pool.Default()
    services = [
        pool.FindServiceByName(f"{file.package}.{service.name}")
        for file in [*load_image().file, *inference_files()]
        if file.package.startswith("lookalike.") or file.package == "inference"
        for service in file.service
    ]
    return {
        f"{service.name}.{method.name}": method
        for service in services
        for method in service.methods
    }


class RpcCaller:
    """Calls the servers of a suite."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._channels = channels
        self._methods = api()

    # Any: a reply is a message of any type; that of a stream is a list of them.
    async def answer(self, server: str, rpc: str, request: Message | Sequence[Message]) -> Any:
        """Return the reply, or the replies. Raises LookalikeError when the call fails."""
        try:
            return await asyncio.wait_for(self._call(server, rpc, request), _PATIENCE)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def error(
        self, server: str, rpc: str, request: Message | Sequence[Message]
    ) -> LookalikeError:
        """Return why the call fails; it must fail."""
        try:
            reply = await self.answer(server, rpc, request)
        except LookalikeError as error:
            return error
        raise AssertionError(f"{rpc} did not fail but answered {reply}")

    async def _call(self, server: str, rpc: str, request: Message | Sequence[Message]) -> Any:
        method = self._methods[rpc]
        sends = "stream" if method.client_streaming else "unary"
        gets = "stream" if method.server_streaming else "unary"
        call = getattr(self._channels[server], f"{sends}_{gets}")(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString
            if isinstance(request, Message)
            else message_factory.GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )(request if isinstance(request, Message) else iter(request))
        return [reply async for reply in call] if method.server_streaming else await call
