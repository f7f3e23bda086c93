"""Second policy: counts and times all calls, also those that later policies refuse."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from lookalike_common.errors import Code
from lookalike_common.policies._policy import Call, Method, Policy

_LABELS: Final = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class MetricsPolicy(Policy):
    """The usual `grpc_server_*` metrics, under the names other gRPC servers use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "grpc_server_started_total", "Calls that began.", _LABELS, registry=registry
        )
        self._handled = Counter(
            "grpc_server_handled_total",
            "Calls that ended, by status code.",
            (*_LABELS, "grpc_code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "How long calls took until their status was sent.",
            _LABELS,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "grpc_server_in_flight", "Calls being served.", _LABELS, registry=registry
        )
        self._of_method: dict[Method, tuple[Counter, Gauge, Histogram]] = {}
        self._ended: dict[tuple[Method, int], Counter] = {}

    def start(self, call: Call) -> None:
        """Count a beginning."""
        started, in_flight, _ = self._children(call.method)
        started.inc()
        in_flight.inc()

    def finish(self, call: Call) -> None:
        """Count the end under its code, and its duration."""
        _, in_flight, seconds = self._children(call.method)
        in_flight.dec()
        seconds.observe(time.perf_counter() - call.started)
        key = (call.method, call.code)
        ended = self._ended.get(key)
        if ended is None:
            labels = (*_labels(call.method), _code_label(call.code))
            ended = self._ended[key] = self._handled.labels(*labels)
        ended.inc()

    def _children(self, method: Method) -> tuple[Counter, Gauge, Histogram]:
        found = self._of_method.get(method)
        if found is None:
            labels = _labels(method)
            found = self._of_method[method] = (
                self._started.labels(*labels),
                self._in_flight.labels(*labels),
                self._seconds.labels(*labels),
            )
        return found


def _labels(method: Method) -> tuple[str, str, str]:
    return method.kind, method.service, method.name


def _code_label(code: Code) -> str:
    """Spell a code as other gRPC servers do in their metrics: `OK`, `Canceled`, `NotFound`."""
    match code:
        case Code.OK:
            return "OK"
        case Code.CANCELLED:
            return "Canceled"
        case _:
            return code.name.title().replace("_", "")
