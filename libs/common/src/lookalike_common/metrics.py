"""The Prometheus endpoint of one server, in a thread of its own.

Each server has a private registry, so that several can run in one process, as tests do.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


class MetricsEndpoint:
    """Serves `/metrics` until closed."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._server, self._thread = start_http_server(port, host, registry)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop serving and release the port; blocks for up to half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
