"""Ways to ask a program whether it is ready. Each answers within about a second, never raises."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2

from lookalike_client.suite.program import Probe

_PATIENCE = 1.0  # seconds for one answer


def tcp(port: int) -> Probe:
    """Whether something accepts connections on the port; for programs without a health service."""

    async def probe() -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return probe


def grpc_health(port: int) -> Probe:
    """Whether the gRPC server on the port reports that it is serving as a whole."""
    listening = tcp(port)

    async def probe() -> bool:
        if not await listening():  # a channel would wait out its connection back-off
            return False
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                reply = await check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE)
            except grpc.aio.AioRpcError:
                return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


def http_ok(port: int, path: str) -> Probe:
    """Whether a GET of the path on the port answers 200."""

    async def probe() -> bool:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(request.encode("ascii"))
                    status = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return status.split(b" ")[1:2] == [b"200"]

    return probe
