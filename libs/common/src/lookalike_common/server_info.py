"""`lookalike.type.v1.ServerInfoService`: what a server is, and what it allows."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from lookalike.type.v1 import server_info_service_pb2 as pb
from lookalike_common.errors import NotFoundError

Features = Sequence[str] | Callable[[], Sequence[str]]
Backend = str | Callable[[], str]
Fingerprints = Mapping[str, str] | Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class ServerFacts:
    """What a service tells about itself; callables are asked at each request."""

    name: str
    """`encoder`, `search`, `ingest` or `gateway`."""
    features: Features = ()
    """What is switched on in the service, such as `cuda` or `milvus-lite`."""
    switches: Sequence[str] = ()
    """What is switched on in the server, such as `auth` or `reflection`."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Published limits by name, such as `max_top_k`."""
    backend: Backend = ""
    """What stores the vectors, such as `milvus-lite 3.2.2`."""
    encoder_fingerprints: Fingerprints = field(default_factory=dict)
    """Fingerprints of the loaded encoders by name."""


class ServerInfoServicer:
    """Answers from the facts given when the server was built."""

    def __init__(self, facts: ServerFacts) -> None:
        self._facts = facts
        self._started = Timestamp()
        self._started.GetCurrentTime()

    async def GetServerInfo(  # noqa: N802 - the name of the rpc
        self, request: pb.GetServerInfoRequest, _context: object
    ) -> pb.ServerInfo:
        """Describe this server; NOT_FOUND when another one is asked for."""
        facts = self._facts
        name = f"servers/{facts.name}"
        if request.name not in ("", name):
            raise NotFoundError(
                f"this is {name}", resource_type="server", resource_name=request.name
            )
        features, backend = facts.features, facts.backend
        fingerprints = facts.encoder_fingerprints
        return pb.ServerInfo(
            name=name,
            version=importlib.metadata.version("lookalike-common"),
            start_time=self._started,
            features=[*(features() if callable(features) else features), *facts.switches],
            limits=facts.limits,
            backend=backend() if callable(backend) else backend,
            encoder_fingerprints=fingerprints() if callable(fingerprints) else fingerprints,
        )
