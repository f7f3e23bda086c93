"""Liveness probes ask a question that no model and no neighbour can answer with no."""

from __future__ import annotations

import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from lookalike_common.server import GrpcServer
from lookalike_common.settings import ServerSettings

ALIVE = "lookalike.type.v1.ServerInfoService"


async def test_the_server_is_alive_while_it_is_not_serving() -> None:
    server = GrpcServer(ServerSettings(), server_name="test", services=())
    await server.start()
    try:
        server.health.set_serving("", serving=False)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=HealthCheckRequest.SerializeToString,
                response_deserializer=HealthCheckResponse.FromString,
            )
            overall = await check(HealthCheckRequest(service=""))
            alive = await check(HealthCheckRequest(service=ALIVE))
    finally:
        await server.stop()
    assert overall.status == HealthCheckResponse.NOT_SERVING
    assert alive.status == HealthCheckResponse.SERVING
