"""A running gateway before three real gRPC servers, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2
import pytest

from lookalike_common.server import GrpcServer
from lookalike_common.settings import TargetSettings
from lookalike_common.testing import loopback, running, server_settings
from lookalike_gateway.adapters.http_server import HttpServer
from lookalike_gateway.app import build
from lookalike_gateway.settings import GatewaySettings
from tests.support.gateway_peers import EncoderPeer, IngestPeer, SearchPeer


@dataclass
class Peers:
    """The servers behind the gateway."""

    encoder: EncoderPeer
    search: SearchPeer
    ingest: IngestPeer
    servers: dict[str, GrpcServer]

    def targets(self) -> dict[str, TargetSettings]:
        return {name: loopback(server.port) for name, server in self.servers.items()}

    def settings(self, **changes: object) -> GatewaySettings:
        server = server_settings()
        return GatewaySettings.model_validate({"server": server, **self.targets(), **changes})


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    # What a peer does not serve is UNIMPLEMENTED, as the generated classes have it.
    encoder = EncoderPeer()  # type: ignore[abstract] # see above
    ingest = IngestPeer()  # type: ignore[abstract] # see above
    search = SearchPeer()  # type: ignore[abstract] # see above
    found = Peers(encoder, search, ingest, {})
    async with AsyncExitStack() as stack:
        for name in ("encoder", "search", "ingest"):
            server = getattr(found, name).server()
            found.servers[name] = await stack.enter_async_context(running(server))
        yield found


@pytest.fixture
async def gateway(peers: Peers) -> AsyncIterator[HttpServer]:
    async with running(build(peers.settings())) as server:
        yield server


def client_of(server: HttpServer) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=20)


@pytest.fixture
async def http(gateway: HttpServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(gateway) as client:
        yield client
