"""A bare gRPC server that answers each call with as many bytes as a vector has: what a call costs.

Its argument: the port.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import grpc
import grpc.aio
import uvloop

SERVICE: Final = "bench.Echo"
REPLY: Final = bytes(1600)
"""A reply with a vector of 384 floats is about that long."""


async def _echo(_request: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    return REPLY


async def _serve(port: int) -> None:
    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Call": grpc.unary_unary_rpc_method_handler(_echo)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
