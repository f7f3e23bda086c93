"""Settings of the gateway, read from `LOOKALIKE_GATEWAY__…`."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import ByteSize, Field, model_validator

from lookalike_common.settings import (
    PositiveDuration,
    ServerSettings,
    ServiceSettings,
    TargetSettings,
)


class GatewaySettings(ServiceSettings):
    """Everything that can be set."""

    model_config = ServiceSettings.configured("LOOKALIKE_GATEWAY__")

    server: ServerSettings = ServerSettings(port=8080)
    """The HTTP server. Of its gRPC settings only limits, TLS, auth and draining are used."""
    encoder: TargetSettings = TargetSettings(address="127.0.0.1:50051")
    """The encoder service."""
    search: TargetSettings = TargetSettings(address="127.0.0.1:50052")
    """The search service."""
    ingest: TargetSettings = TargetSettings(address="127.0.0.1:50053")
    """The ingest service, which serves assets too."""
    max_body_bytes: ByteSize = Field(default=ByteSize(88 * 1024 * 1024), gt=0)
    """Largest request body. JSON is longer than the message: base64 takes a third more."""
    transcode_off_loop_bytes: ByteSize = ByteSize(64 * 1024)
    """Messages larger than this are converted in a thread, to keep the event loop free."""
    readiness_timeout: PositiveDuration = timedelta(seconds=1)
    """How long `/readyz` waits for each service."""
    start_patience: PositiveDuration = timedelta(seconds=30)
    """How long after its start a gateway waits for all services before it is ready with some."""
    allowed_hosts: tuple[str, ...] = ()
    """More names, besides those of this machine, by which a gateway on loopback may be called."""

    @property
    def targets(self) -> dict[str, TargetSettings]:
        """The services behind the gateway, by name."""
        return {"encoder": self.encoder, "search": self.search, "ingest": self.ingest}

    @model_validator(mode="after")
    def _refuse_own_identity(self) -> Self:
        named = [name for name, target in self.targets.items() if target.token_file is not None]
        if named:
            raise ValueError(
                f"{named[0]}.token_file must not be set: callers' own tokens are passed on, and "
                "one of the gateway's would be lent to everybody who has none"
            )
        return self
