"""Server reflection, v1 and v1alpha, with comments.

grpcio-reflection answers from the descriptor pool, which has no comments, and only as v1alpha.
Both versions have the same messages on the wire, so one handler serves both names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from lookalike_common.descriptors import DescriptorIndex, Found
from lookalike_common.errors import Code
from lookalike_common.registrar import Registrar

V1: Final = "grpc.reflection.v1"
V1_ALPHA: Final = "grpc.reflection.v1alpha"
SERVICES: Final = (f"{V1}.ServerReflection", f"{V1_ALPHA}.ServerReflection")

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


class ReflectionServicer:
    """Answers what services there are, and hands out the files that describe them."""

    def __init__(self, services: Sequence[str], more: Sequence[FileDescriptorProto] = ()) -> None:
        self._services = sorted({*services, *SERVICES})
        self._index = DescriptorIndex.shipped(_v1_file(), *more)

    async def ServerReflectionInfo(  # noqa: N802 - the name of the rpc
        self, requests: AsyncIterator[Request], _context: object
    ) -> AsyncIterator[Response]:
        """Answer each question in turn; a file travels once per stream."""
        sent: set[str] = set()
        async for request in requests:
            yield self._answer(request, sent)

    def _answer(self, request: Request, sent: set[str]) -> Response:
        index = self._index
        match request.WhichOneof("message_request"):
            case "list_services":
                return self._list(request)
            case "file_by_filename":
                return self._files(request, index.file(request.file_by_filename), sent)
            case "file_containing_symbol":
                found = index.file_with_symbol(request.file_containing_symbol)
                return self._files(request, found, sent)
            case "file_containing_extension":
                wanted = request.file_containing_extension
                found = index.file_with_extension(wanted.containing_type, wanted.extension_number)
                return self._files(request, found, sent)
            case "all_extension_numbers_of_type":
                return self._extension_numbers(request)
            case _:
                return _failed(request, Code.INVALID_ARGUMENT, "the request asks for nothing")

    def _list(self, request: Request) -> Response:
        response = _reply(request)
        for name in self._services:
            response.list_services_response.service.add(name=name)
        return response

    def _files(self, request: Request, found: Found, sent: set[str]) -> Response:
        if found is None:
            return _failed(request, Code.NOT_FOUND, "not found")
        closure = self._index.closure(found)
        files = [each for each in closure if each is found or each.name not in sent]
        sent.update(each.name for each in files)
        response = _reply(request)
        response.file_descriptor_response.file_descriptor_proto.extend(
            each.SerializeToString() for each in files
        )
        return response

    def _extension_numbers(self, request: Request) -> Response:
        name = request.all_extension_numbers_of_type
        numbers = self._index.extension_numbers(name)
        if numbers is None:
            return _failed(request, Code.NOT_FOUND, "not found")
        response = _reply(request)
        response.all_extension_numbers_response.base_type_name = name
        response.all_extension_numbers_response.extension_number.extend(numbers)
        return response


def add_reflection(servicer: ReflectionServicer, server: Registrar) -> None:
    """Register the servicer under both names."""
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=Request.FromString,
        response_serializer=Response.SerializeToString,
    )
    for service in SERVICES:
        server.add_registered_method_handlers(service, {"ServerReflectionInfo": handler})


def _reply(request: Request) -> Response:
    return Response(valid_host=request.host, original_request=request)


def _failed(request: Request, code: Code, message: str) -> Response:
    response = _reply(request)
    response.error_response.error_code = code
    response.error_response.error_message = message
    return response


def _v1_file() -> FileDescriptorProto:
    """Describe the v1 service: v1alpha's file under the other package."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = V1
    for message in file.message_type:
        for field in filter(lambda each: each.type_name, message.field):
            field.type_name = field.type_name.replace(V1_ALPHA, V1)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(V1_ALPHA, V1)
        method.output_type = method.output_type.replace(V1_ALPHA, V1)
    return file
