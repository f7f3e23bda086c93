"""Prometheus metrics of HTTP requests; the upstream calls are counted by the services."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_VERBS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class HttpMetrics:
    """Counts and times requests by method and route."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._handled = Counter(
            "http_server_requests_total",
            "Requests that ended, by status.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "http_server_request_seconds",
            "How long requests took until the end of their response.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "http_server_in_flight", "Requests being served.", registry=registry
        )

    def begin(self) -> None:
        """Count a beginning."""
        self._in_flight.inc()

    def end(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an end."""
        method = method if method in _VERBS else "other"
        self._in_flight.dec()
        self._handled.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
