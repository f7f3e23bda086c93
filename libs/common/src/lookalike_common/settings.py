"""Settings shared by all services: one frozen tree, read from the environment, units in types.

A service subclasses `ServiceSettings` with its own prefix, for example
`model_config = ServiceSettings.configured("LOOKALIKE_ENCODER__")`; then
`LOOKALIKE_ENCODER__SERVER__PORT=50051` sets `settings.server.port`.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _parse_duration(value: object) -> object:
    """Take `500ms`, `1.5s`, `20m`, `2h` or plain seconds; leave the rest (ISO 8601) to pydantic."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", value) if isinstance(value, str) else None
    if match is None:
        return value
    return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])


Duration = Annotated[timedelta, BeforeValidator(_parse_duration), Field(ge=timedelta(0))]
"""Time that may be written as `1.5s`, as `config` prints it."""

PositiveDuration = Annotated[Duration, Field(gt=timedelta(0))]

DEFAULT_MAX_MESSAGE_BYTES: Final = ByteSize(64 * 1024 * 1024)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    if host == "localhost" or host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Frozen(BaseModel):
    """A group of settings: immutable, and strict about names so that typing errors are found."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TlsSettings(Frozen):
    """TLS of a server, from PEM files read at start (they are not reloaded yet)."""

    certificate: Path
    """The server's certificate chain."""
    key: Path
    """Its private key."""
    client_ca: Path | None = None
    """When set, callers must show a certificate signed by it (mTLS)."""


class ClientTlsSettings(Frozen):
    """TLS of a client, from PEM files read when the channel opens."""

    ca: Path | None = None
    """Who may sign the server's certificate; None for the system's authorities."""
    certificate: Path | None = None
    """The client's certificate chain, for mTLS."""
    key: Path | None = None
    """Its private key."""
    server_name: str | None = None
    """The name to expect in the certificate, when it is not the one dialled."""


class AuthSettings(Frozen):
    """Who may call."""

    tokens_file: Path | None = None
    """YAML list of bearer tokens with tenant and scopes; None: no authentication."""


class KeepaliveSettings(Frozen):
    """How dead connections are noticed."""

    time: PositiveDuration = timedelta(minutes=1)
    """Silence after which the other side is pinged."""
    timeout: PositiveDuration = timedelta(seconds=20)
    """How long an answer may take."""
    min_ping_interval: PositiveDuration = timedelta(seconds=10)
    """How often a client may ping this server."""


class ServerSettings(Frozen):
    """One gRPC server."""

    host: str = "127.0.0.1"
    """Address to bind. Anything but loopback needs auth or `insecure`."""
    port: Port = 0
    """Port to bind; 0 takes a free one."""
    metrics_port: Port | None = None
    """Port of the Prometheus endpoint on the same host; 0 takes a free one, None is off."""
    max_message_bytes: ByteSize = DEFAULT_MAX_MESSAGE_BYTES
    """Largest message received or sent."""
    reflection: bool = True
    """Whether tools such as grpcurl may ask for the API's description."""
    insecure: bool = False
    """Allow a bind to other addresses than loopback without authentication."""
    tls: TlsSettings | None = None
    """TLS, or None for plain text."""
    auth: AuthSettings = AuthSettings()
    """Who may call."""
    drain_delay: Duration = timedelta(seconds=0.5)
    """Time between NOT_SERVING and closing, in which load balancers look away."""
    drain_grace: Duration = timedelta(seconds=20)
    """How long calls in flight may take to finish after that."""
    max_connection_age: PositiveDuration = timedelta(minutes=30)
    """After this a connection is closed, so that clients spread over new replicas."""
    max_connection_age_grace: PositiveDuration = timedelta(minutes=10)
    """How long calls on a connection closed by age may go on."""
    keepalive: KeepaliveSettings = KeepaliveSettings()
    """How dead connections are noticed."""
    max_concurrent_rpcs: int = Field(default=1000, ge=1)
    """Calls served at once; more are refused with RESOURCE_EXHAUSTED."""
    validate_off_loop_bytes: ByteSize = ByteSize(64 * 1024)
    """Requests larger than this are validated in a thread, to keep the event loop free."""

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> Self:
        open_door = not is_loopback(self.host) and self.auth.tokens_file is None
        if open_door and not self.insecure:
            raise ValueError(
                f"host {self.host!r} is reachable from other machines, and nobody would be asked "
                "for a token: set auth.tokens_file, or insecure=true to accept that"
            )
        return self


class TargetSettings(Frozen):
    """Another service to call."""

    address: str
    """`host:port`, or any gRPC target such as `dns:///search:50052`."""
    deadline: PositiveDuration = timedelta(seconds=30)
    """For calls that bring no deadline of their own; a stream is not limited by it."""
    tls: ClientTlsSettings | None = None
    """TLS, or None for plain text."""
    token_file: Path | None = None
    """File holding the bearer token of this service; read again for new channels."""
    max_message_bytes: ByteSize = DEFAULT_MAX_MESSAGE_BYTES
    """Largest message received or sent."""
    keepalive: KeepaliveSettings = KeepaliveSettings()
    """How dead connections are noticed."""


class TelemetrySettings(Frozen):
    """Logs and traces."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Successful calls are logged at DEBUG, refused ones at INFO, defects at ERROR."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object per line, or text for people."""
    otlp_endpoint: str | None = None
    """OpenTelemetry collector to send traces to, such as `http://127.0.0.1:4317`; None is off."""


class ServiceSettings(BaseSettings):
    """The settings that every service has."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_nested_delimiter="__",
        # Else setting one variable would reset its whole group to the defaults of the type.
        nested_model_default_partial_update=True,
        use_attribute_docstrings=True,
    )

    server: ServerSettings = ServerSettings()
    """The gRPC server."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Logs and traces."""

    @staticmethod
    def configured(env_prefix: str) -> SettingsConfigDict:
        """Return the model configuration for a service's prefix, `LOOKALIKE_<SERVICE>__`."""
        return SettingsConfigDict(env_prefix=env_prefix)  # the rest is inherited


def redacted(settings: BaseModel) -> dict[str, object]:
    """Return settings ready for JSON, without secrets and without passwords in URLs."""
    return {name: _redacted_value(getattr(settings, name)) for name in type(settings).model_fields}


def _redacted_value(value: object) -> object:
    match value:
        case BaseModel():
            return redacted(value)
        case dict():
            return {str(key): _redacted_value(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted_value(each) for each in value]
        case _:
            return _redacted_leaf(value)


def _redacted_leaf(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case timedelta():
            return f"{value.total_seconds():g}s"
        case _:  # the text of a SecretStr is asterisks
            return _without_password(str(value))


def _without_password(text: str) -> str:
    """Replace the user info of a URL; other text stays."""
    try:
        url = urlsplit(text)
        if "://" not in text or "@" not in url.netloc:
            return text
        host = url.netloc.rpartition("@")[2]
        return urlunsplit(url._replace(netloc=f"***@{host}"))
    except ValueError:
        return "***"
