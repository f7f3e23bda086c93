"""What every request goes through, whatever its route; the counterpart of the gRPC policies.

Request id and deadline, trace, metrics, access log, errors, limit, guard against foreign sites.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.propagate import extract
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike_common.context import (
    REQUEST_ID_HEADER,
    RequestContext,
    new_request_id,
    set_context,
)
from lookalike_common.errors import InternalError, LookalikeError, OverloadedError
from lookalike_common.settings import is_loopback
from lookalike_common.telemetry import active_tracer
from lookalike_gateway.routes.metrics import HttpMetrics
from lookalike_gateway.routes.responses import error_response
from lookalike_gateway.settings import GatewaySettings
from lookalike_gateway.transcoding.deadlines import TIMEOUT_HEADER, parse_timeout
from lookalike_gateway.transcoding.http_errors import (
    ClientGoneError,
    ForeignOriginError,
    http_status,
)

API_PATH: Final = "/v1/"
"""Where all paths of the API begin."""
ROUTE: Final = "lookalike.route"
"""Key of the ASGI scope under which a route leaves its template, for the metrics."""

_logger = logging.getLogger(__name__)
_access = logging.getLogger("lookalike.access")
_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_RETRY_AFTER: Final = timedelta(seconds=0.5)
_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_GONE: Final = 499
_CLIENT_FAULTS: Final = 400
_SERVER_FAULTS: Final = 500


class Edge:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings, metrics: HttpMetrics) -> None:
        server = settings.server
        self._app = app
        self._metrics = metrics
        self._max_requests = server.max_concurrent_rpcs
        self._in_flight = 0
        self._hosts = None
        if is_loopback(server.host):
            self._hosts = {"localhost", "127.0.0.1", "::1", *settings.allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connections are not accepted."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, receive, send)
        self._in_flight += exchange.is_call
        self._metrics.begin()
        try:
            with exchange.span():
                await self._serve(exchange)
        finally:
            self._in_flight -= exchange.is_call
            self._metrics.end(
                exchange.method, exchange.route, exchange.status, exchange.seconds_spent
            )
            exchange.log()

    async def _serve(self, exchange: _Exchange) -> None:
        try:
            exchange.begin()
            self._admit(exchange)
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except (ClientDisconnect, ClientGoneError):
            exchange.status = _GONE
        except LookalikeError as error:
            await exchange.fail(error)
        except Exception as error:
            _logger.exception("a request failed")
            await exchange.fail(InternalError(f"{type(error).__name__}: {error}"))

    def _admit(self, exchange: _Exchange) -> None:
        if exchange.is_call and self._in_flight > self._max_requests:
            raise OverloadedError(
                f"{self._max_requests} requests are being served, which is the limit",
                retry_after=_RETRY_AFTER,
            )
        host = exchange.headers.get("host", "")
        if self._hosts is not None and _hostname(host) not in self._hosts:
            raise ForeignOriginError(
                "a gateway on loopback is called by a name of this machine; see allowed_hosts",
                field="host",
            )
        origin = exchange.headers.get("origin")
        if (
            origin is not None
            and exchange.method not in _HARMLESS
            and urlsplit(origin).netloc != host
        ):
            raise ForeignOriginError("pages of other sites may not call", field="origin")


class _Exchange:
    """One request and what is known about its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.headers = Headers(scope=scope)
        self.method: str = scope["method"]
        self.is_call = scope["path"].startswith(API_PATH)
        """Whether it is for the API, not for its documentation or a probe."""
        self.status = 500
        self._send = send
        self._responding = False
        self._started = time.perf_counter()
        given = self.headers.get(REQUEST_ID_HEADER, "")
        self._request_id = given if _ACCEPTED_ID.fullmatch(given) else new_request_id()

    @property
    def route(self) -> str:
        """The route's template; `other` where there is none, so that labels stay few."""
        return str(self.scope.get(ROUTE, "other"))

    @property
    def seconds_spent(self) -> float:
        return time.perf_counter() - self._started

    def begin(self) -> None:
        """Set the context that all layers below read."""
        context = RequestContext(
            request_id=self._request_id, method=f"{self.method} {self.scope['path'][:200]}"
        )
        set_context(context)
        timeout = self.headers.get(TIMEOUT_HEADER)
        if timeout is not None:
            deadline = time.monotonic() + parse_timeout(timeout).total_seconds()
            set_context(replace(context, deadline=deadline))

    async def send(self, message: Message) -> None:
        """Send a part of the response; its head gets what all heads have."""
        if message["type"] == "http.response.start":
            self._responding = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID_HEADER] = self._request_id
            headers["x-content-type-options"] = "nosniff"
            headers.setdefault("cache-control", "no-store")
        await self._send(message)

    async def fail(self, error: LookalikeError) -> None:
        """Answer with an error, if nothing has been answered yet."""
        if self._responding:
            _logger.warning("a response broke off: %s", error)
            self.status = http_status(error)
            return
        await error_response(error)(self.scope, self.receive, self.send)

    def log(self) -> None:
        """Write one line to the access log, without any content."""
        level = logging.DEBUG if self.status < _CLIENT_FAULTS else logging.INFO
        if self.status >= _SERVER_FAULTS:
            level = logging.WARNING
        _access.log(
            level,
            "%s %s",
            self.method,
            self.route,
            extra={"code": str(self.status), "seconds": round(self.seconds_spent, 6)},
        )

    @contextmanager
    def span(self) -> Iterator[None]:
        """Continue the caller's trace, where traces are exported."""
        tracer = active_tracer()
        if tracer is None:
            yield
            return
        with tracer.start_as_current_span(
            self.method,
            context=extract(dict(self.headers)),
            kind=trace.SpanKind.SERVER,
            record_exception=False,
        ) as span:
            yield
            span.update_name(f"{self.method} {self.route}")
            span.set_attribute("http.response.status_code", self.status)
            span.set_attribute("lookalike.request_id", self._request_id)
            if self.status >= _SERVER_FAULTS:
                span.set_status(trace.StatusCode.ERROR)


def _hostname(host: str) -> str:
    """Return a Host header without its port, lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
