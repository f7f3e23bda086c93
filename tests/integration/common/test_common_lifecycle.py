"""Starting, health, draining, signals, the metrics endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.type.v1 import server_info_service_pb2 as info_pb2
from lookalike.type.v1 import server_info_service_pb2_grpc as info_grpc
from lookalike_common.server import GrpcServer
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import assert_eventually, running, server_settings

if TYPE_CHECKING:
    from tests.integration.common.conftest import Probe, Start

ENCODER = "lookalike.encoder.v1.EncoderService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def health_stub(channel: grpc.aio.Channel) -> Any:
    """Return the stub, of whose methods the types know nothing."""
    return health_pb2_grpc.HealthStub(channel)


def request(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


async def test_health_is_told_per_service(start: Start) -> None:
    async with start() as suite:
        health = health_stub(suite.channel)
        assert (await health.Check(request())).status == SERVING
        assert (await health.Check(request(ENCODER))).status == SERVING
        suite.server.health.set_serving(ENCODER, serving=False)
        assert (await health.Check(request(ENCODER))).status == NOT_SERVING
        assert (await health.Check(request())).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(request("nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(KeyError):
            suite.server.health.set_serving("nothing", serving=True)


async def test_all_watchers_hear_of_changes(start: Start) -> None:
    async with start() as suite:
        health = health_stub(suite.channel)
        first, second = health.Watch(request(ENCODER)), health.Watch(request(ENCODER))
        unknown = health.Watch(request("nothing"))
        assert (await first.read()).status == SERVING
        assert (await second.read()).status == SERVING
        assert (await unknown.read()).status == UNKNOWN
        first.cancel()
        suite.server.health.set_serving(ENCODER, serving=False)
        assert (await second.read()).status == NOT_SERVING
        suite.server.health.set_serving(ENCODER, serving=True)
        assert (await second.read()).status == SERVING


async def test_clients_turn_away_from_a_server_that_is_not_serving(start: Start) -> None:
    async with start() as suite:
        assert await suite.call("unary") == 1
        suite.server.health.set_serving("", serving=False)

        async def refused() -> bool:
            try:
                await suite.call("unary")
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.UNAVAILABLE
            return False

        await assert_eventually(refused)
        suite.server.health.set_serving("", serving=True)

        async def served() -> bool:
            return not await refused()

        await assert_eventually(served)


async def test_stopping_lets_calls_end_and_refuses_new_ones(start: Start, probe: Probe) -> None:
    release = asyncio.Event()
    probe.act = release.wait  # type: ignore[assignment] # what it returns is of no interest
    async with start(drain_delay=timedelta(seconds=0.05)) as suite:
        watch = health_stub(suite.channel).Watch(request())
        assert (await watch.read()).status == SERVING
        calls = [asyncio.create_task(suite.call(kind)) for kind in ("unary", "server_stream")]
        await probe.called.wait()
        await assert_eventually(lambda: len(probe.contexts) == 2)
        stopping = asyncio.create_task(suite.server.stop())
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        failure = await suite.failure("unary", timeout=0.5)
        assert failure.code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }
        assert not stopping.done()
        release.set()
        assert await asyncio.gather(*calls) == [1, 2]
        await asyncio.wait_for(stopping, 5)


async def test_stopping_does_not_wait_longer_than_its_grace(start: Start, probe: Probe) -> None:
    async def act() -> None:
        await asyncio.Event().wait()

    probe.act = act
    async with start(drain_grace=timedelta(seconds=0.1)) as suite:
        call = asyncio.create_task(suite.failure("unary"))
        await probe.called.wait()
        began = time.monotonic()
        await suite.server.stop()
        assert time.monotonic() - began < 3
        assert (await call).code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def test_an_idle_server_with_watchers_stops_at_once(start: Start) -> None:
    async with start(drain_grace=timedelta(seconds=30)) as suite:
        watch = health_stub(suite.channel).Watch(request())
        await watch.read()
        await asyncio.wait_for(suite.server.stop(), 5)


async def test_a_taken_port_is_an_error(start: Start) -> None:
    async with start() as suite:
        settings = server_settings(port=suite.server.port)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{suite.server.port}"):
            await GrpcServer(settings, server_name="search", services=[]).start()


async def test_servers_describe_themselves() -> None:
    server = GrpcServer(
        server_settings(),
        server_name="search",
        services=[],
        features=lambda: ["milvus-lite"],
        limits={"max_top_k": 10_000},
        backend="milvus-lite 3.2.2",
        encoder_fingerprints={"encoders/a@1": "00"},
    )
    async with (
        running(server),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = info_grpc.ServerInfoServiceStub(channel)
        info = await stub.GetServerInfo(info_pb2.GetServerInfoRequest(name="servers/search"))
        assert info.name == "servers/search"
        assert re.match(r"\d+\.\d+\.\d+", info.version)
        assert abs(info.start_time.seconds - time.time()) < 600
        assert list(info.features) == ["milvus-lite", "reflection"]
        assert dict(info.limits) == {"max_message_bytes": 64 << 20, "max_top_k": 10_000}
        assert info.backend == "milvus-lite 3.2.2"
        assert dict(info.encoder_fingerprints) == {"encoders/a@1": "00"}
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetServerInfo(info_pb2.GetServerInfoRequest(name="servers/encoder"))
        assert error_from_rpc(caught.value).resource_name == "servers/encoder"


async def test_metrics_are_served_and_end_with_the_server(start: Start) -> None:
    def scrape(port: int | None) -> str:
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as reply:
            return str(reply.read().decode())

    async with start(metrics_port=0) as suite:
        await suite.call("unary")
        text = await asyncio.to_thread(scrape, suite.server.metrics_port)
        assert re.search(r'handled_total\{grpc_code="OK",grpc_method="GetAsset",.*\} 1\.0', text)
        assert "process_resident_memory_bytes" in text
    with pytest.raises(OSError):
        await asyncio.to_thread(scrape, suite.server.metrics_port)


PROGRAM = """
import sys
from contextlib import asynccontextmanager

from lookalike_common.server import GrpcServer
from lookalike_common.service_cli import run_service
from lookalike_common.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = ServiceSettings.configured("LOOKALIKE_SAMPLE__")
    names: tuple[str, ...] = ()


@asynccontextmanager
async def build(settings):
    yield GrpcServer(settings.server, server_name="gateway", services=[])
    print("closed", flush=True)


sys.exit(run_service("sample", Settings, build))
"""


@asynccontextmanager
async def program(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, *arguments),
        env={**os.environ, **{f"LOOKALIKE_SAMPLE__{k}": v for k, v in environment.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_a_program_drains_and_ends_with_0(asked: signal.Signals) -> None:
    async with program(SERVER__DRAIN_DELAY="0") as process:
        assert process.stderr is not None
        line = await process.stderr.readline()
        assert b'"message": "serving on 127.0.0.1:' in line
        process.send_signal(asked)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, err
    assert out == b"closed\n"
    assert b'"message": "stopped"' in err


async def test_a_second_signal_cuts_the_drain_short() -> None:
    async with program(SERVER__DRAIN_DELAY="0", SERVER__DRAIN_GRACE="1h") as process:
        assert process.stderr is not None
        port = re.search(rb"127\.0\.0\.1:(\d+)", await process.stderr.readline())
        assert port is not None

        def refuses() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", int(port[1]))) != 0

        async with grpc.aio.insecure_channel(f"127.0.0.1:{port[1].decode()}") as channel:
            path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
            open_stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
            open_stream = channel.stream_stream(path)
            stream = open_stream()
            await stream.write(b"\x3a\x01*")  # list_services
            await stream.read()
            process.send_signal(signal.SIGTERM)
            await assert_eventually(refuses)
            assert process.returncode is None
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0


async def test_config_prints_and_exits() -> None:
    async with program("config", SERVER__PORT="5") as process:
        out, _ = await process.communicate()
    assert json.loads(out)["server"]["port"] == 5


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SERVER__HOST": "0.0.0.0"}, "set auth.tokens_file, or insecure=true"),  # noqa: S104 - refused
        ({"SERVER__PORT": "x"}, "LOOKALIKE_SAMPLE__SERVER__PORT: Input should be a valid integer"),
        ({"SERVER__PROT": "1"}, "LOOKALIKE_SAMPLE__SERVER__PROT: there is no such setting"),
        ({"NAMES": "/photos"}, "LOOKALIKE_SAMPLE__NAMES: must be JSON"),
    ],
)
async def test_wrong_settings_are_told_and_end_with_2(
    environment: dict[str, str], message: str
) -> None:
    async with program("serve", **environment) as process:
        _, err = await process.communicate()
    assert process.returncode == 2
    assert message in err.decode()


async def test_a_program_that_cannot_start_ends_with_1(start: Start) -> None:
    async with start() as suite, program(SERVER__PORT=str(suite.server.port)) as process:
        _, err = await process.communicate()
    assert process.returncode == 1
    assert b"cannot listen on" in err
