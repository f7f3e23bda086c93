"""What the policies add to one unary call, against the bare handler under the same load.

Three servers in a process of their own take the same small call from one client: the generated
handler alone, wrapped by an empty chain, wrapped by the full chain (request id, metrics, logging,
errors, limits, auth, validation). Rounds alternate, so that noise falls on all alike; the figure is
the server's CPU time per call, the median over rounds. Target: empty chain below 25 µs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop
from prometheus_client import CollectorRegistry

from lookalike.asset.v1 import asset_pb2, asset_service_pb2
from lookalike_common.auth import Tokens
from lookalike_common.policies import (
    AccessLogPolicy,
    AuthPolicy,
    ErrorsPolicy,
    LimitsPolicy,
    MetricsPolicy,
    Policy,
    PolicyChain,
    RequestIdPolicy,
    ValidationPolicy,
)
from lookalike_common.policies.chain import Handler
from lookalike_common.validation import RequestValidator

SERVICE = "lookalike.asset.v1.AssetService"
TOKEN = "bench-0123456789"
TARGET_EMPTY_MICROSECONDS = 25.0
VARIANTS = ("bare", "empty", "full")

Request = asset_service_pb2.GetAssetRequest
# Any: one context type for all messages.
Context = grpc.aio.ServicerContext[Any, Any]


async def get_asset(request: Request, _context: Context) -> asset_pb2.Asset:
    """Answer at once."""
    return asset_pb2.Asset(name=request.name)


def full_chain() -> Sequence[Policy]:
    """Return the seven policies as a server has them, with authentication on."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(f"- {{token: {TOKEN}, tenant: acme, scopes: [read]}}\n")
        file.flush()
        tokens = Tokens.load(Path(file.name))
    return [
        RequestIdPolicy(),
        MetricsPolicy(CollectorRegistry()),
        AccessLogPolicy(),
        ErrorsPolicy(),
        LimitsPolicy(1000),
        AuthPolicy(tokens),
        ValidationPolicy(RequestValidator(), 65536),
    ]


def handler(variant: str) -> Handler:
    """Return the handler as one of the servers has it."""
    bare = grpc.unary_unary_rpc_method_handler(
        get_asset,
        request_deserializer=Request.FromString,
        response_serializer=asset_pb2.Asset.SerializeToString,
    )
    if variant == "bare":
        return bare
    policies = full_chain() if variant == "full" else []
    return PolicyChain(policies).wrap(SERVICE, "GetAsset", bare)


async def serve(pipe: Connection) -> None:
    """Serve all variants; answer each message with the CPU seconds used so far."""
    servers, ports = [], []
    for variant in VARIANTS:
        server = grpc.aio.server()
        methods = {"GetAsset": handler(variant)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    pipe.send(ports)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, pipe.recv):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send(usage.ru_utime + usage.ru_stime)
    for server in servers:
        await server.stop(None)


def run_server(pipe: Connection) -> None:
    """Run the servers' process."""
    uvloop.run(serve(pipe))


Stub = grpc.aio.UnaryUnaryMultiCallable[Request, asset_pb2.Asset]


async def load(stub: Stub, calls: int, concurrency: int) -> float:
    """Make calls; return the seconds they took."""
    request = Request(name="assets/" + "0" * 64)
    metadata = (("authorization", f"Bearer {TOKEN}"), ("x-request-id", "bench"))

    async def worker() -> None:
        for _ in range(calls // concurrency):
            await stub(request, metadata=metadata)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return time.perf_counter() - began


def cpu_seconds(pipe: Connection) -> float:
    """Ask the servers' process for its CPU time."""
    pipe.send(True)
    used: float = pipe.recv()
    return used


async def measure(pipe: Connection, rounds: int, calls: int, concurrency: int) -> dict[str, float]:
    """Return the median CPU microseconds per call of each variant."""
    ports = pipe.recv()
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
    stubs: list[Stub] = [
        channel.unary_unary(
            f"/{SERVICE}/GetAsset",
            request_serializer=Request.SerializeToString,
            response_deserializer=asset_pb2.Asset.FromString,
        )
        for channel in channels
    ]
    for stub in stubs:
        await load(stub, calls, concurrency)
    samples: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant, stub in zip(VARIANTS, stubs, strict=True):
            before = cpu_seconds(pipe)
            await load(stub, calls, concurrency)
            samples[variant].append((cpu_seconds(pipe) - before) / calls * 1e6)
    for channel in channels:
        await channel.close()
    return {variant: statistics.median(values) for variant, values in samples.items()}


def main() -> None:
    """Measure, print a table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=8)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=run_server, args=(theirs,), daemon=True)
    process.start()
    try:
        found = uvloop.run(measure(ours, options.rounds, options.calls, options.concurrency))
    finally:
        ours.send(False)
        process.join()
    added = {variant: round(found[variant] - found["bare"], 1) for variant in ("empty", "full")}
    for variant in VARIANTS:
        sys.stdout.write(f"{variant:6} {found[variant]:8.1f} µs of server CPU a call\n")
    result = {
        "benchmark": "interceptors",
        "bare_us": round(found["bare"], 1),
        "added_empty_us": added["empty"],
        "added_full_us": added["full"],
        "target_empty_us": TARGET_EMPTY_MICROSECONDS,
        "met": added["empty"] < TARGET_EMPTY_MICROSECONDS,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
