"""Where Milvus is, and how to prove to each other who is who."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc

_DEFAULT_PORT: Final = 19530


@dataclass(frozen=True, slots=True)
class Target:
    """Where Milvus is."""

    host: str
    port: int
    tls: bool

    @property
    def address(self) -> str:
        """As gRPC wants it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, uri: str) -> Target:
        """Read `http://host:port`, `https://…`, `tcp://…` or `host:port`; ValueError if wrong."""
        url = urlsplit(uri if "://" in uri else f"tcp://{uri}")
        if url.scheme not in {"http", "https", "tcp"} or not url.hostname or url.path.strip("/"):
            raise ValueError(f"not the URI of a Milvus server: {uri!r}")
        return cls(url.hostname, url.port or _DEFAULT_PORT, url.scheme == "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files for TLS; read when the connection is made."""

    authority: Path | None = None
    """What the server's certificate is checked with; the system's own where it is None."""
    certificate: Path | None = None
    """Our own, where the server asks for one."""
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what a channel needs; raises OSError."""
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.authority),
            private_key=_read(self.key),
            certificate_chain=_read(self.certificate),
        )

    def context(self) -> ssl.SSLContext:
        """Return the same for a plain connection; raises OSError."""
        authority = _read(self.authority)
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["h2"])
        return context


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
