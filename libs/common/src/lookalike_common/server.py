"""Assembles a gRPC server: what every process of the suite has around its own services.

Policies, health, reflection, server info, limits, keepalive, TLS, the metrics endpoint, and a
graceful stop: health NOT_SERVING → a short delay → no new calls → calls in flight end → closed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc
from prometheus_client import CollectorRegistry

from lookalike.type.v1 import server_info_service_pb2_grpc
from lookalike_common.auth import Tokens
from lookalike_common.health import SERVICE as HEALTH
from lookalike_common.health import Health
from lookalike_common.metrics import MetricsEndpoint
from lookalike_common.policies import (
    AccessLogPolicy,
    AuthPolicy,
    ErrorsPolicy,
    LimitsPolicy,
    MetricsPolicy,
    Policy,
    PolicyChain,
    RequestIdPolicy,
    TracingPolicy,
    ValidationPolicy,
)
from lookalike_common.policies.chain import Handler
from lookalike_common.reflection import ReflectionServicer, add_reflection
from lookalike_common.registrar import Registrar
from lookalike_common.server_info import (
    Backend,
    Features,
    Fingerprints,
    ServerFacts,
    ServerInfoServicer,
)
from lookalike_common.settings import ServerSettings, TlsSettings
from lookalike_common.telemetry import active_tracer
from lookalike_common.validation import RequestValidator

# Any: generated `add_…Servicer_to_server` functions each take their own servicer type.
Add = Callable[[Any, Any], None]

_logger = logging.getLogger(__name__)
_SERVER_INFO: Final = "lookalike.type.v1.ServerInfoService"


@dataclass(frozen=True)
class Service:
    """One proto service and what implements it."""

    name: str
    """Full name, such as `lookalike.search.v1.SearchService`."""
    add: Add
    """The generated `add_<Service>Servicer_to_server`."""
    servicer: object
    """Unary rpcs are coroutine functions, those with streamed replies async generators."""


class GrpcServer:
    """One listening gRPC server with everything that all services share."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        server_name: str,
        services: Sequence[Service],
        features: Features = (),
        limits: Mapping[str, int] | None = None,
        backend: Backend = "",
        encoder_fingerprints: Fingerprints | None = None,
        registry: CollectorRegistry | None = None,
        descriptors: Sequence[FileDescriptorProto] = (),
    ) -> None:
        """`descriptors` are of services that lookalike-protos lacks, with comments."""
        self.settings = settings
        self._descriptors = descriptors
        self.registry = registry or CollectorRegistry()
        """Where this server's metrics are; services may register their own."""
        self.health = Health([*(service.name for service in services), _SERVER_INFO])
        """Set the state of a service here, while building too; SERVING unless set otherwise.

        `ServerInfoService` is left alone: liveness probes ask for it, since it depends on nothing.
        """
        self._facts = ServerFacts(
            name=server_name,
            features=features,
            switches=_switches(settings),
            limits={"max_message_bytes": int(settings.max_message_bytes), **(limits or {})},
            backend=backend,
            encoder_fingerprints=encoder_fingerprints or {},
        )
        self._services = [*services, *self._shared_services()]
        self._server: grpc.aio.Server | None = None
        self._endpoint: MetricsEndpoint | None = None
        self._port: int | None = None
        self._stopped = False
        self._hurrying: asyncio.Task[None] | None = None

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
        handlers = self._handlers()
        validator = RequestValidator()
        await asyncio.to_thread(validator.warm_up, _request_types(handlers))
        chain = PolicyChain(self._policies(validator))
        server = grpc.aio.server(options=_options(self.settings))
        for service, methods in handlers.items():
            wrapped = {name: chain.wrap(service, name, each) for name, each in methods.items()}
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, wrapped),)
            )
        self._port = _bind(server, self.settings)
        if self.settings.metrics_port is not None:
            self._endpoint = MetricsEndpoint(
                self.settings.host, self.settings.metrics_port, self.registry
            )
        await server.start()
        self._server = server
        _logger.info("serving on %s", _address(self.settings.host, self._port))

    async def stop(self) -> None:
        """Drain and close; calls still running after `drain_grace` are cancelled."""
        if self._server is None or self._stopped:
            return
        self._stopped = True
        self.health.drain()
        await asyncio.sleep(self.settings.drain_delay.total_seconds())
        self.health.close()
        await self._server.stop(self.settings.drain_grace.total_seconds())
        if self._endpoint is not None:
            await asyncio.to_thread(self._endpoint.close)
        _logger.info("stopped")

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal cancels what still runs."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        signals = (signal.SIGTERM, signal.SIGINT)
        for each in signals:
            loop.add_signal_handler(each, asked.set)
        try:
            if self._server is None:
                await self.start()
            await asked.wait()
            for each in signals:
                loop.add_signal_handler(each, self._hurry)
            await self.stop()
        finally:
            for each in signals:
                loop.remove_signal_handler(each)

    def _hurry(self) -> None:
        """Cut a drain short."""
        if self._server is not None and self._hurrying is None:
            self._hurrying = asyncio.create_task(self._server.stop(0))

    def _shared_services(self) -> list[Service]:
        return [
            Service(
                _SERVER_INFO,
                server_info_service_pb2_grpc.add_ServerInfoServiceServicer_to_server,
                ServerInfoServicer(self._facts),
            ),
            Service(HEALTH, health_pb2_grpc.add_HealthServicer_to_server, self.health),
        ]

    def _handlers(self) -> dict[str, dict[str, Handler]]:
        """Collect the handlers of all services, by service and rpc."""
        registrar = Registrar()
        for service in self._services:
            service.add(service.servicer, registrar)
            if service.name not in registrar.handlers:
                raise ValueError(f"{service.name} was added under another name")
        if self.settings.reflection:
            servicer = ReflectionServicer(list(registrar.handlers), self._descriptors)
            add_reflection(servicer, registrar)
        return registrar.handlers

    def _policies(self, validator: RequestValidator) -> list[Policy]:
        settings = self.settings
        tokens = None
        if settings.auth.tokens_file is not None:
            tokens = Tokens.load(settings.auth.tokens_file)
        tracer = active_tracer()
        return [
            *([TracingPolicy(tracer)] if tracer is not None else []),
            RequestIdPolicy(),
            MetricsPolicy(self.registry),
            AccessLogPolicy(),
            ErrorsPolicy(),
            LimitsPolicy(settings.max_concurrent_rpcs),
            AuthPolicy(tokens),
            ValidationPolicy(validator, settings.validate_off_loop_bytes),
        ]


def _switches(settings: ServerSettings) -> list[str]:
    known = {
        "auth": settings.auth.tokens_file is not None,
        "reflection": settings.reflection,
        "tls": settings.tls is not None,
    }
    return [name for name, on in known.items() if on]


def _request_types(handlers: Mapping[str, Mapping[str, Handler]]) -> list[type[Message]]:
    """Return the request types of all rpcs that the descriptor pool knows."""
    found = {}
    pool = descriptor_pool.Default()
    for service in handlers:
        try:
            methods = pool.FindServiceByName(service).methods
        except KeyError:
            continue
        for method in methods:
            found[method.input_type.full_name] = method.input_type
    return [message_factory.GetMessageClass(each) for each in found.values()]


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    keepalive = settings.keepalive
    return [
        ("grpc.max_receive_message_length", int(settings.max_message_bytes)),
        ("grpc.max_send_message_length", int(settings.max_message_bytes)),
        ("grpc.max_connection_age_ms", _ms(settings.max_connection_age)),
        ("grpc.max_connection_age_grace_ms", _ms(settings.max_connection_age_grace)),
        ("grpc.keepalive_time_ms", _ms(keepalive.time)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive.timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(keepalive.min_ping_interval)),
        # Else two processes could share a port unnoticed, each with half of the calls.
        ("grpc.so_reuseport", 0),
    ]


def _ms(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> int:
    address = _address(settings.host, settings.port)
    try:
        if settings.tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, _credentials(settings.tls))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    client_ca = None if tls.client_ca is None else tls.client_ca.read_bytes()
    return grpc.ssl_server_credentials(
        [pair], root_certificates=client_ca, require_client_auth=client_ca is not None
    )
