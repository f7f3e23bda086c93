"""Reflection, as grpcurl uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2

from lookalike_common.errors import Code

if TYPE_CHECKING:
    from tests.integration.common.conftest import Start

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse

each_version = pytest.mark.parametrize("version", ["v1", "v1alpha"])


async def ask(channel: grpc.aio.Channel, version: str, *requests: Request) -> Sequence[Response]:
    call: grpc.aio.StreamStreamMultiCallable[Request, Response] = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    return [each async for each in call(iter(requests))]


def files(response: Response) -> list[FileDescriptorProto]:
    raw = response.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(each) for each in raw]


@each_version
async def test_all_services_are_listed(start: Start, version: str) -> None:
    async with start() as running:
        (response,) = await ask(running.channel, version, Request(list_services="*"))
    assert [each.name for each in response.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "lookalike.asset.v1.AssetService",
        "lookalike.encoder.v1.EncoderService",
        "lookalike.type.v1.ServerInfoService",
    ]


@each_version
async def test_every_listed_service_can_be_described(start: Start, version: str) -> None:
    async with start() as running:
        (listing,) = await ask(running.channel, version, Request(list_services="*"))
        names = [each.name for each in listing.list_services_response.service]
        requests = [Request(file_containing_symbol=name) for name in names]
        responses = await ask(running.channel, version, *requests)
    pool = DescriptorPool()
    received = {file.name: file for response in responses for file in files(response)}
    added: set[str] = set()

    def add(file: FileDescriptorProto) -> None:
        if file.name not in added:
            added.add(file.name)
            for name in file.dependency:
                add(received[name])
            pool.Add(file)

    for file in received.values():
        add(file)
    for name in names:
        assert pool.FindServiceByName(name).methods


async def test_comments_arrive(start: Start) -> None:
    async with start() as running:
        request = Request(file_containing_symbol="lookalike.encoder.v1.EncoderService.Encode")
        (response,) = await ask(running.channel, "v1", request)
    described, *imported = files(response)
    comments = [each.leading_comments for each in described.source_code_info.location]
    assert any("Scope" in each or "encode" in each.lower() for each in comments)
    assert "google/rpc/status.proto" in {each.name for each in imported}


async def test_a_file_travels_once(start: Start) -> None:
    async with start() as running:
        request = Request(file_containing_symbol="lookalike.encoder.v1.EncoderService")
        first, second = await ask(running.channel, "v1", request, request)
    assert len(files(first)) > 5
    assert len(files(second)) == 1


async def test_files_and_extensions_are_found(start: Start) -> None:
    extension = reflection_pb2.ExtensionRequest(
        containing_type="google.protobuf.MethodOptions", extension_number=72295728
    )
    async with start() as running:
        by_name, by_extension, numbers = await ask(
            running.channel,
            "v1",
            Request(file_by_filename="google/protobuf/struct.proto"),
            Request(file_containing_extension=extension),
            Request(all_extension_numbers_of_type="google.protobuf.MethodOptions"),
        )
    assert files(by_name)[0].package == "google.protobuf"
    assert files(by_extension)[0].name == "google/api/annotations.proto"
    assert 72295728 in numbers.all_extension_numbers_response.extension_number


async def test_unknown_names_do_not_end_the_stream(start: Start) -> None:
    async with start() as running:
        *refused, last = await ask(
            running.channel,
            "v1",
            Request(file_containing_symbol="nothing"),
            Request(file_by_filename="nothing"),
            Request(all_extension_numbers_of_type="nothing"),
            Request(),
            Request(list_services="*"),
        )
    codes = [each.error_response.error_code for each in refused]
    assert codes == [Code.NOT_FOUND] * 3 + [Code.INVALID_ARGUMENT]
    assert last.list_services_response.service


async def test_it_can_be_switched_off(start: Start) -> None:
    async with start(reflection=False) as running:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(running.channel, "v1", Request(list_services="*"))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
