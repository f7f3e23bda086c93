"""Which TCP ports the programs of a suite use, and whether they can."""

import os
import socket
from dataclasses import dataclass, fields, replace

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """The TCP ports of a suite, all on the loopback interface."""

    encoder: int = 50051
    search: int = 50052
    ingest: int = 50053
    gateway: int = 8080
    milvus: int = 19530
    encoder_metrics: int = 9101
    search_metrics: int = 9102
    ingest_metrics: int = 9103
    gateway_metrics: int = 9104

    @classmethod
    def from_base(cls, base: int) -> "Ports":
        """Nine consecutive ports: the services at base + 1 … + 5, their metrics at + 6 … + 9."""
        return cls(*range(base + 1, base + 1 + len(fields(cls))))

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody uses right now."""
        sockets = [socket.create_server((HOST, 0)) for _ in fields(cls)]
        try:
            return cls(*(s.getsockname()[1] for s in sockets))
        finally:
            for held in sockets:
                held.close()

    @classmethod
    def free_base(cls) -> int:
        """A base whose ports nobody uses right now, below those that outgoing calls take."""
        step = len(fields(cls))
        bases = range(20000, 32000, step)
        for attempt in range(len(bases)):
            # Processes that look at the same moment begin at different places.
            base = bases[(os.getpid() + attempt) % len(bases)]
            if not cls.from_base(base).taken():
                return base
        raise OSError("no nine free ports in a row between 20000 and 32000")

    def override(self, **ports: int | None) -> "Ports":
        """The same, except for the ports that are given."""
        return replace(self, **{name: port for name, port in ports.items() if port is not None})

    def taken(self) -> dict[str, int]:
        """Those that somebody listens on. Services share ports silently (SO_REUSEPORT)."""
        ports = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: port for name, port in ports.items() if _is_taken(port)}


def _is_taken(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return True
    return False
