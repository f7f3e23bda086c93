"""Real models, installed once per machine by the real installer, and real servers on them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.encoder.v1 import encoder_service_pb2_grpc
from lookalike_common.server import GrpcServer
from lookalike_encoder.app import build, open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.install.errors import InstallError
from lookalike_encoder.install.installer import Installer
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.rpc.encoder import SERVICE
from lookalike_encoder.settings import DeviceSettings, EncoderServerSettings, EncoderSettings
from tests.support.encoders import default_set

MODELS = Path(__file__).parents[3] / ".lookalike" / "models"

Serve = Callable[..., AbstractContextManager[int]]
Stub = encoder_service_pb2_grpc.EncoderServiceStub


@pytest.fixture(scope="session")
def loader_of() -> Iterator[Callable[..., EncoderLoader]]:
    """Makes loaders for a folder of models and further folders of manifests."""
    with ThreadPoolExecutor(2) as threads:
        runtime = open_local_runtime(DeviceSettings(kind="cpu"), threads)

        def make(models: Path, *manifests: Path) -> EncoderLoader:
            return EncoderLoader(discover(manifests), ModelStore(models), runtime)

        yield make


@pytest.fixture(scope="session")
def models(loader_of: Callable[..., EncoderLoader]) -> Path:
    """The folder of installed models; without a registry to fetch them from, tests are skipped."""
    installer = Installer(ModelStore(MODELS), prove=loader_of(MODELS).prove, report=print)
    for manifest in default_set():
        try:
            installer.install(manifest)
        except InstallError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"{manifest.versioned_name} cannot be installed: {error}")
    return MODELS


@pytest.fixture(scope="session")
def loaded(models: Path, loader_of: Callable[..., EncoderLoader]) -> dict[str, Encoder]:
    """The encoders that are installed by default, in this process, by name."""
    loader = loader_of(models)
    return {each.name: loader.load(each) for each in default_set()}


@pytest.fixture(scope="session")
def serve(request: pytest.FixtureRequest) -> Serve:
    """Runs a server on a loop of its own and yields its port once its health is as expected."""

    @contextmanager
    def serve(*, healthy: bool = True, build_options: Any = None, **changes: Any) -> Iterator[int]:
        models = changes.get("models_dir") or request.getfixturevalue("models")
        settings = make_settings(models).model_copy(update=changes)
        with running_thread(settings, build_options or {}) as server:
            if healthy:
                wait_until_serving(server.port)
            yield server.port

    return serve


@pytest.fixture
def serve_own() -> Callable[..., AbstractContextManager[Stub]]:
    """Serves what lies in folders of models and of manifests, and yields a stub."""

    @contextmanager
    def serve(models: Path, manifests: Path, *encoders: str) -> Iterator[Stub]:
        changes = {"manifest_dirs": (manifests,), "encoders": encoders}
        settings = make_settings(models).model_copy(update=changes)
        with running_thread(settings, {}) as server:
            wait_until_serving(server.port)
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield Stub(channel)

    return serve


@pytest.fixture(scope="session")
def port(serve: Serve) -> Iterator[int]:
    """The port of a server that all tests share."""
    with serve() as port:
        yield port


@pytest.fixture(scope="session")
def stub(port: int) -> Iterator[Stub]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Stub(channel)


def make_settings(models: Path) -> EncoderSettings:
    server = EncoderServerSettings(
        port=0, metrics_port=0, drain_delay=timedelta(0), drain_grace=timedelta(seconds=2)
    )
    return EncoderSettings(server=server, models_dir=models)


@contextmanager
def running_thread(settings: EncoderSettings, options: Any) -> Iterator[GrpcServer]:
    """Run a server in a thread until the block ends."""
    started: Any = {}
    ready = threading.Event()

    async def run() -> None:
        stop = asyncio.Event()
        started["stop"] = (asyncio.get_running_loop(), stop)
        async with build(settings, **options) as server:
            await server.start()
            started["server"] = server
            ready.set()
            await stop.wait()
            await server.stop()

    def main() -> None:
        try:
            asyncio.run(run())
        finally:
            ready.set()

    thread = threading.Thread(target=main)
    thread.start()
    try:
        assert ready.wait(30)
        yield started["server"]
    finally:
        loop, stop = started["stop"]
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


def is_serving(port: int, service: str = SERVICE) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # it ships no types
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def wait_until_serving(port: int) -> None:
    """Watch the health of the service until it is SERVING."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # it ships no types
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        for answer in stub.Watch(request, timeout=60):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return


@pytest.fixture(scope="session")
def serving() -> Callable[..., bool]:
    """Tells whether a server says SERVING."""
    return is_serving
