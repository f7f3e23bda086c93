"""Runs before the seven when traces are exported: one server span per call."""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.trace import SpanKind, Status, StatusCode

from lookalike_common.errors import Code
from lookalike_common.policies._policy import Call, Policy

_SERVER_FAULTS = frozenset(
    {Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS, Code.UNAVAILABLE, Code.UNIMPLEMENTED}
)


class TracingPolicy(Policy):
    """Continues the caller's trace. Every call has its own task, so its context ends with it."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def start(self, call: Call) -> None:
        """Open the span and make it current."""
        carrier = {key: value for key, value in call.metadata.items() if isinstance(value, str)}
        span = self._tracer.start_span(
            call.method.path.removeprefix("/"),
            context=extract(carrier),
            kind=SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": call.method.service,
                "rpc.method": call.method.name,
            },
        )
        otel_context.attach(trace.set_span_in_context(span))

    def finish(self, call: Call) -> None:
        """Close the span with the call's code."""
        span = trace.get_current_span()
        span.set_attribute("rpc.grpc.status_code", int(call.code))
        span.set_attribute("lookalike.request_id", call.request.request_id)
        if call.code in _SERVER_FAULTS:
            span.set_status(Status(StatusCode.ERROR, call.code.name))
        span.end()
