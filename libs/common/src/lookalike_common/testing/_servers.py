"""Servers on free ports, closed at the end of a block."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from lookalike_common.settings import ServerSettings, TargetSettings


class Startable(Protocol):
    """What `build` of every service yields, and `GrpcServer` itself."""

    async def start(self) -> None:
        """Begin to serve."""

    async def stop(self) -> None:
        """Stop serving."""

    @property
    def port(self) -> int:
        """The port it listens on."""


Server = TypeVar("Server", bound=Startable)


@asynccontextmanager
async def running(
    app: AbstractAsyncContextManager[Server] | Server,
) -> AsyncIterator[Server]:
    """Start what `build(settings)` yields (or a server as such) and stop it after the block."""
    if not isinstance(app, AbstractAsyncContextManager):
        async with _started(app) as server:
            yield server
        return
    async with app as built, _started(built) as server:
        yield server


@asynccontextmanager
async def _started(server: Server) -> AsyncIterator[Server]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def loopback(port: int) -> TargetSettings:
    """Return settings for a channel to a server on this machine."""
    return TargetSettings(address=f"127.0.0.1:{port}")


def server_settings(**changes: object) -> ServerSettings:
    """Return server settings for tests: a free port and no waiting when it stops."""
    return ServerSettings(drain_delay=timedelta(0), drain_grace=timedelta(seconds=2)).model_copy(
        update=changes
    )


def free_port() -> int:
    """Return a port that was free a moment ago; prefer port 0 where the server can tell its own.

    It is one that neither outgoing calls nor `lookalike up` take, this process never gets it again,
    and test runs side by side hardly meet: two services on one port would share it silently.
    """
    while True:
        port = _CHANCE.choice(_PORTS)
        if port not in _taken and _is_free(port):
            _taken.add(port)
            return port


_PORTS: Final = range(10_000, 19_000)
_CHANCE: Final = random.SystemRandom()
_taken: Final[set[int]] = set()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
