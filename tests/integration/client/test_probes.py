"""The supervisor's probes against real servers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from lookalike_client.suite import probes
from lookalike_client.suite.ports import Ports


async def test_nobody_listens() -> None:
    port = Ports.free().encoder
    assert not await probes.tcp(port)()
    assert not await probes.grpc_health(port)()
    assert not await probes.http_ok(port, "/readyz")()


async def test_grpc_health_follows_the_server() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        assert not await probes.grpc_health(port)()
        servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        assert await probes.grpc_health(port)()
    finally:
        server.stop(0).wait()


async def test_http_ok_reads_the_status() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readline()
        status = b"200 OK" if b"/readyz" in request else b"503 Service Unavailable"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await probes.http_ok(port, "/readyz")()
        assert not await probes.http_ok(port, "/other")()
