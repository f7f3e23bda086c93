"""grpc.health.v1, with `Watch` for any number of watchers and a state set from plain code.

The servicer of grpcio-health-checking forgets its other watchers when one of them leaves, and can
only be set from coroutines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from grpc_health.v1 import health_pb2

from lookalike_common.errors import NotFoundError

SERVICE: Final = "grpc.health.v1.Health"
OVERALL: Final = ""
"""The name under which the whole server is asked for."""

Request = health_pb2.HealthCheckRequest
Response = health_pb2.HealthCheckResponse


class Health:
    """The serving state of each service of one server; SERVING unless somebody says otherwise."""

    def __init__(self, services: Iterable[str]) -> None:
        self._serving = dict.fromkeys([OVERALL, *services], True)
        self._changed = asyncio.Event()
        self._draining = False
        self._closed = False

    def add(self, service: str) -> None:
        """Make a further name known, NOT_SERVING at first; nothing happens where it already is."""
        self._serving.setdefault(service, False)
        self._notify()

    def set_serving(self, service: str, serving: bool) -> None:
        """Set the state of a service, "" being the whole server; call it on the event loop."""
        if service not in self._serving:
            raise KeyError(f"{service!r} is not served here")
        if not self._draining and self._serving[service] is not serving:
            self._serving[service] = serving
            self._notify()

    def is_serving(self, service: str = OVERALL) -> bool:
        """Tell whether a service is serving."""
        return self._serving[service]

    def drain(self) -> None:
        """Set everything to NOT_SERVING for good."""
        self._draining = True
        self._serving = dict.fromkeys(self._serving, False)
        self._notify()

    def close(self) -> None:
        """End all watches, which would hold up a graceful stop."""
        self._closed = True
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _status(self, service: str) -> int:
        serving = self._serving.get(service)
        if serving is None:
            return Response.SERVICE_UNKNOWN
        return Response.SERVING if serving else Response.NOT_SERVING

    async def Check(self, request: Request, _context: object) -> Response:  # noqa: N802 - rpc
        """Answer the state of one service now."""
        status = self._status(request.service)
        if status == Response.SERVICE_UNKNOWN:
            raise NotFoundError("no such service here", resource_name=request.service)
        return Response(status=status)

    async def Watch(  # noqa: N802 - the name of the rpc
        self, request: Request, _context: object
    ) -> AsyncIterator[Response]:
        """Yield the state of one service now and after each change."""
        last = None
        while not self._closed:
            changed = self._changed
            status = self._status(request.service)
            if status != last:
                yield Response(status=status)
                last = status
            await changed.wait()
