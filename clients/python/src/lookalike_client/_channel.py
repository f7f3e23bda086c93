"""Opens channels the way every client of the suite should: see `service_config.json`."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""What servers allow unless configured otherwise; GetServerInfo tells the truth."""


def service_config(*, health_checked: bool = True) -> str:
    """The published service config as JSON, with or without client-side health checks.

    It repeats calls that met an UNAVAILABLE server, except UploadChunk: gRPC would send the upload
    from its beginning, where it no longer stands.
    """
    text = files("lookalike_client").joinpath("service_config.json").read_text(encoding="utf-8")
    # Any: the service config is gRPC's own JSON, passed on as it is.
    config: dict[str, Any] = json.loads(text)
    if not health_checked:
        del config["healthCheckConfig"]
    return json.dumps(config)


def open_channel(
    address: str, *, ca_file: Path | None = None, health_checked: bool = True
) -> grpc.Channel:
    """Open a channel to `host:port` or any other gRPC target; TLS when `ca_file` is given.

    With `health_checked` false, calls also reach a server that says it is not serving.
    """
    options = [
        ("grpc.service_config", service_config(health_checked=health_checked)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # Retries need the whole request again; the default buffer holds 256 KiB.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        # Servers that moved, as pods do in a rollout, are looked up anew without long waits.
        ("grpc.dns_min_time_between_resolutions_ms", 1000),
        # A dead peer is noticed within a minute and a half, also while nothing is sent.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    if ca_file is None:
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(ca_file.read_bytes())
    return grpc.secure_channel(address, credentials, options)
