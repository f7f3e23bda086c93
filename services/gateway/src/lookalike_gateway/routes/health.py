"""Whether the gateway lives, and whether it is of any use."""

from __future__ import annotations

import time

import orjson
from starlette.requests import Request
from starlette.responses import Response

from lookalike_gateway.adapters.upstreams import Upstreams
from lookalike_gateway.routes.edge import ROUTE
from lookalike_gateway.routes.responses import JsonResponse
from lookalike_gateway.settings import GatewaySettings


class HealthEndpoints:
    """Answers probes; they need no token."""

    def __init__(self, upstreams: Upstreams, settings: GatewaySettings) -> None:
        self._upstreams = upstreams
        self._timeout = settings.readiness_timeout
        self._some_suffice_from = time.monotonic() + settings.start_patience.total_seconds()
        self._draining = False

    def drain(self) -> None:
        """Answer from now on that the gateway is not ready."""
        self._draining = True

    async def live(self, request: Request) -> Response:
        """Answer 200 as long as the event loop turns."""
        request.scope[ROUTE] = request.url.path
        return JsonResponse(orjson.dumps({"status": "SERVING"}))

    async def ready(self, request: Request) -> Response:
        """Answer 200 when all services have been seen, and then while one of them serves.

        A gateway without its encoder still lists, counts and searches by vector; were it taken
        out of service with the encoder, everything would be gone. The body names all services.
        """
        request.scope[ROUTE] = request.url.path
        serving = await self._upstreams.serving(self._timeout)
        if all(serving.values()):
            self._some_suffice_from = 0.0
        enough = any if time.monotonic() >= self._some_suffice_from else all
        ready = enough(serving.values()) and not self._draining
        body = {
            "status": _word(ready),
            "services": {name: _word(state) for name, state in serving.items()},
        }
        return JsonResponse(orjson.dumps(body), 200 if ready else 503)


def _word(serving: bool) -> str:
    return "SERVING" if serving else "NOT_SERVING"
