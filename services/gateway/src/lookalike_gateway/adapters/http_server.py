"""One listening HTTP server: uvicorn, started and drained the way our gRPC servers are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from lookalike_common.metrics import MetricsEndpoint
from lookalike_common.settings import ServerSettings

_logger = logging.getLogger(__name__)
_BACKLOG: Final = 2048


class HttpServer:
    """Serves an application until stopped; has the shape of `GrpcServer`."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        registry: CollectorRegistry,
        on_drain: Callable[[], None],
    ) -> None:
        self.settings = settings
        self._registry = registry
        self._on_drain = on_drain
        self._server = _Uvicorn(_config(app, settings))
        self._serving: asyncio.Task[None] | None = None
        self._endpoint: MetricsEndpoint | None = None
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        if self._port is None:
            raise RuntimeError("the server has not been started")
        return self._port

    @property
    def metrics_port(self) -> int | None:
        """The port of the metrics endpoint, once started; None when it is off."""
        return None if self._endpoint is None else self._endpoint.port

    async def start(self) -> None:
        """Bind and begin to serve; OSError when the port is taken."""
        listener = _bind(self.settings)
        self._port = int(listener.getsockname()[1])
        if self.settings.metrics_port is not None:
            self._endpoint = MetricsEndpoint(
                self.settings.host, self.settings.metrics_port, self._registry
            )
        self._serving = asyncio.create_task(self._server.serve([listener]))
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((self._serving, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._serving.done():
            await self._serving
        _logger.info("serving on %s port %d", self.settings.host, self._port)

    async def stop(self) -> None:
        """Drain and close; requests still running after `drain_grace` are cancelled."""
        if self._serving is None or self._server.should_exit:
            return
        self._on_drain()
        await asyncio.sleep(self.settings.drain_delay.total_seconds())
        self._server.should_exit = True
        await self._serving
        if self._endpoint is not None:
            await asyncio.to_thread(self._endpoint.close)
        _logger.info("stopped")

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal hurries."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()

        def ask() -> None:
            if asked.is_set():
                self._server.force_exit = True
            asked.set()

        signals = (signal.SIGTERM, signal.SIGINT)
        for each in signals:
            loop.add_signal_handler(each, ask)
        try:
            if self._serving is None:
                await self.start()
            await asked.wait()
            await self.stop()
        finally:
            for each in signals:
                loop.remove_signal_handler(each)


class _Uvicorn(uvicorn.Server):
    """Uvicorn that leaves signals to us and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _config(app: ASGIApp, settings: ServerSettings) -> uvicorn.Config:
    tls = settings.tls
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=max(1, int(settings.keepalive.time.total_seconds())),
        timeout_graceful_shutdown=max(1, round(settings.drain_grace.total_seconds())),
        ssl_certfile=None if tls is None else str(tls.certificate),
        ssl_keyfile=None if tls is None else str(tls.key),
        ssl_ca_certs=None if tls is None or tls.client_ca is None else str(tls.client_ca),
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls is not None and tls.client_ca else ssl.CERT_NONE,
    )


def _bind(settings: ServerSettings) -> socket.socket:
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, settings.port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host} port {settings.port}: {error}") from error
    listener.setblocking(False)
    return listener
