"""Settings of the encoder service: `LOOKALIKE_ENCODER__…`."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import ByteSize, Field

from lookalike_common.settings import Duration, Frozen, Port, ServerSettings, ServiceSettings
from lookalike_encoder.precision import Precision


def default_models_dir() -> Path:
    """Return the folder of installed models in the user's data folder."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "lookalike" / "models"


class EncoderServerSettings(ServerSettings):
    """The gRPC server, with the encoder's ports."""

    port: Port = 50051
    """Port to bind; 0 takes a free one."""
    metrics_port: Port | None = 9101
    """Port of the Prometheus endpoint on the same host; 0 takes a free one, None is off."""


class DeviceSettings(Frozen):
    """What models run on."""

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA where it works."""
    require_gpu: bool = False
    """Refuse to serve an encoder on the processor, rather than be slow unnoticed."""
    precision: Precision = Precision.AUTO
    """What models compute in: `auto` is fp16 on CUDA, of models that have it, and else fp32."""
    threads: int = Field(default=0, ge=0)
    """Threads of one model on the processor; 0: one for each core."""
    spinning: bool = False
    """Let idle threads spin: a lone request is faster, everything beside it slower."""
    arena: bool = True
    """Keep memory that a run freed for the next one; bounded by the largest batch."""
    decode_threads: int = Field(default=0, ge=0)
    """Threads that decode pictures; 0: one for each core."""


class QueueSettings(Frozen):
    """How much one encoder accepts before it refuses, and how long it keeps it waiting."""

    max_items: int = Field(default=4096, ge=1)
    """Items waiting or running."""
    max_bytes: ByteSize = ByteSize(256 << 20)
    """Their bytes."""
    max_delay: Duration = timedelta(0)
    """How long a request that fills no batch waits for others to join it; 0: not at all."""
    max_time: Duration = timedelta(0)
    """How long a request waits at most for its turn, before it is refused as one is when the queue
    is full; 0: as long as its caller does."""
    stream_depth: int = Field(default=8, ge=1)
    """Requests of one stream that are served at once."""


class CacheSettings(Frozen):
    """Results kept by a hash of what they were made of."""

    max_bytes: ByteSize = ByteSize(0)
    """Of all encoders together; 0: none are kept. An answer from here is fast, which tells a caller
    that somebody, perhaps of another tenant, encoded the same content before."""


class EncoderSettings(ServiceSettings):
    """Everything that can be set."""

    model_config = ServiceSettings.configured("LOOKALIKE_ENCODER__")

    server: EncoderServerSettings = EncoderServerSettings()
    """The gRPC server."""
    models_dir: Path = Field(default_factory=default_models_dir)
    """Where models are installed."""
    manifest_dirs: tuple[Path, ...] = ()
    """Further folders of `<name>/manifest.yaml`."""
    encoders: tuple[str, ...] = ()
    """What to serve, as `name` or `name@version`; all of them must be ready before the service is.
    Empty: whatever is installed."""
    device: DeviceSettings = DeviceSettings()
    """What models run on."""
    queue: QueueSettings = QueueSettings()
    """How much is accepted."""
    cache: CacheSettings = CacheSettings()
    """Results that are kept."""
