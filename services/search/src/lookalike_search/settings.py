"""Settings of the search service: `LOOKALIKE_SEARCH__…`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import ByteSize, Field, SecretStr, model_validator

from lookalike_common.settings import (
    Frozen,
    Port,
    PositiveDuration,
    ServerSettings,
    ServiceSettings,
    TargetSettings,
)


class SearchServerSettings(ServerSettings):
    """The gRPC server, with search's ports."""

    port: Port = 50052
    """Port to bind; 0 takes a free one."""
    metrics_port: Port | None = 9102
    """Port of the Prometheus endpoint on the same host; 0 takes a free one, None is off."""


class MilvusSettings(Frozen):
    """Where the vectors are."""

    uri: str = Field(default="http://127.0.0.1:19530", pattern=r"^((https?|tcp)://)?[^/\s]+/?$")
    """A Milvus Lite server, a standalone server or a cluster; `https://` for TLS."""
    token: SecretStr = SecretStr("")
    """`user:password`, where Milvus asks for it."""
    ca_file: Path | None = None
    """Authority of Milvus's certificate (PEM), with `https://`; the system's own if not set."""
    cert_file: Path | None = None
    """Search's own certificate (PEM), where Milvus asks for one; with `key_file`."""
    key_file: Path | None = None
    database: str = Field(default="default", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    """Milvus database of callers without a tenant; those of tenants are named after it, or `ll`."""
    call_limit: PositiveDuration = timedelta(seconds=30)
    """How long one call may take; a caller's own deadline may end a read before."""
    sweep_interval: PositiveDuration = timedelta(minutes=1)
    """How often entities that have outlived their ttl are removed; they are invisible before."""
    facts_age: PositiveDuration = timedelta(seconds=2)
    """How long what is known of a collection is believed; the same for all processes of search,
    since a migration waits twice as long for them."""
    start_limit: timedelta = Field(default=timedelta(seconds=5), ge=timedelta(0))
    """How long the start waits for Milvus before it goes on without, not serving."""

    @model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if (self.cert_file is None) is not (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class StreamSettings(Frozen):
    """How the batches of one `StreamUpsertEntities` are taken."""

    depth: int = Field(default=2, ge=1)
    """Batches that are written at once; those behind them wait with the caller."""
    slow_after: PositiveDuration = timedelta(seconds=2)
    """Where the store needs longer for a batch, the caller is asked to wait before the next."""
    longest_backoff: PositiveDuration = timedelta(seconds=30)
    """The longest pause that a caller is asked for."""


class AssetsSettings(TargetSettings):
    """The service that keeps original bytes, for contents that name a stored asset."""

    address: str = ""
    """`host:port`, or any gRPC target; empty where there is none: such contents are refused."""
    max_bytes: ByteSize = ByteSize(32 * 1024 * 1024)
    """The largest asset that is read to be encoded."""


class QueryCacheSettings(Frozen):
    """Vectors of contents that were searched for."""

    max_bytes: ByteSize = ByteSize(32 * 1024 * 1024)
    """What is kept at most; some 15,000 vectors of 384 dimensions. 0 keeps nothing."""


class StructureSettings(Frozen):
    """How molecules are compared by their structure."""

    max_scanned: int = Field(default=20_000, ge=1)
    """Entities that one query reads at most; what it answers says when there were more."""


class SearchSettings(ServiceSettings):
    """Everything that can be set."""

    model_config = ServiceSettings.configured("LOOKALIKE_SEARCH__")

    server: SearchServerSettings = SearchServerSettings()
    """The gRPC server."""
    milvus: MilvusSettings = MilvusSettings()
    """Where the vectors are."""
    encoder: TargetSettings = TargetSettings(address="127.0.0.1:50051")
    """The encoder service."""
    assets: AssetsSettings = AssetsSettings()
    """The service that keeps original bytes."""
    query_cache: QueryCacheSettings = QueryCacheSettings()
    """Vectors of contents that were searched for."""
    streams: StreamSettings = StreamSettings()
    """How streams of writes are taken."""
    structures: StructureSettings = StructureSettings()
    """How molecules are compared by their structure."""
