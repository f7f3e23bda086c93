"""Traces by OpenTelemetry. Off unless an endpoint is configured, and then costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from lookalike_common.settings import TelemetrySettings


@contextmanager
def tracing(settings: TelemetrySettings, service: str) -> Iterator[None]:
    """Export traces within the block when an endpoint is configured; flush them at its end.

    OpenTelemetry has one provider per process and keeps it, so this is for programs only.
    """
    if settings.otlp_endpoint is None:
        yield
        return
    # Imported here because the exporter costs 150 ms at start, which most processes never use.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - see above
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above

    provider = TracerProvider(resource=Resource.create({"service.name": f"lookalike-{service}"}))
    plain = settings.otlp_endpoint.startswith("http://")
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=plain)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def active_tracer() -> trace.Tracer | None:
    """Return the tracer when traces are exported, else None."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer("lookalike_common")
