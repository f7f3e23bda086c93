"""The client: typed calls to the gRPC services, with errors as one exception tree.

Requests take what people have at hand (paths, ids, texts); replies are the published protobuf
messages, so that nothing a server says is hidden.
"""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import grpc
from grpc_health.v1 import health_pb2

from lookalike.type.v1 import server_info_service_pb2, server_info_service_pb2_grpc
from lookalike_client._calls import Caller
from lookalike_client._channel import open_channel
from lookalike_client._collections import CollectionCalls
from lookalike_client._encoding import EncoderCalls
from lookalike_client._entities import EntityCalls
from lookalike_client._jobs import JobCalls
from lookalike_client._searches import SearchCalls

Service = Literal["encoder", "search", "ingest"]


class Client(EncoderCalls, CollectionCalls, EntityCalls, SearchCalls, JobCalls):
    """Calls the services of one suite. Thread-safe; close it, or use it as a context manager.

    Addresses are `host:port` or any gRPC target, such as `dns:///search:50052`.
    """

    def __init__(
        self,
        *,
        encoder: str = "127.0.0.1:50051",
        search: str = "127.0.0.1:50052",
        ingest: str = "127.0.0.1:50053",
        token: str | None = None,
        ca_file: Path | None = None,
        timeout: timedelta = timedelta(seconds=30),
        health_checked: bool = True,
    ) -> None:
        """Connect lazily: nothing is sent before the first call.

        `timeout` is the deadline of each call that is not a stream. With `health_checked` false
        calls also go to a server that reports that it is not serving.
        """
        call = Caller(timeout=timeout, token=token)
        self._closing = ExitStack()
        addresses: dict[Service, str] = {"encoder": encoder, "search": search, "ingest": ingest}
        self._channels: dict[Service, grpc.Channel] = {
            service: self._closing.enter_context(
                open_channel(address, ca_file=ca_file, health_checked=health_checked)
            )
            for service, address in addresses.items()
        }
        EncoderCalls.__init__(self, call, self._channels["encoder"])
        CollectionCalls.__init__(self, call, self._channels["search"])
        EntityCalls.__init__(self, call, self._channels["search"])
        SearchCalls.__init__(self, call, self._channels["search"])
        JobCalls.__init__(self, call, self._channels["ingest"])

    def close(self) -> None:
        """Close the connections."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def server_info(self, service: Service) -> server_info_service_pb2.ServerInfo:
        """Version, features and limits of a server."""
        stub = server_info_service_pb2_grpc.ServerInfoServiceStub(self._channels[service])
        request = server_info_service_pb2.GetServerInfoRequest()
        return self._call.unary(stub.GetServerInfo, request)

    def is_serving(self, service: Service) -> bool:
        """Whether a server reports that it is serving as a whole."""
        check = self._channels[service].unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        reply = self._call.unary(check, health_pb2.HealthCheckRequest())
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
