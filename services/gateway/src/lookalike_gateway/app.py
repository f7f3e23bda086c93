"""Puts the gateway together: the one place where its parts are made."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from lookalike_common.descriptors import load_image
from lookalike_common.errors import InternalError, NotFoundError
from lookalike_common.server_info import ServerFacts, ServerInfoServicer
from lookalike_gateway.adapters.http_server import HttpServer
from lookalike_gateway.adapters.page_assets import assets_folder
from lookalike_gateway.adapters.upstreams import OWN_NAME, Upstreams
from lookalike_gateway.routes.api import ApiEndpoint
from lookalike_gateway.routes.edge import API_PATH, Edge
from lookalike_gateway.routes.health import HealthEndpoints
from lookalike_gateway.routes.metrics import HttpMetrics
from lookalike_gateway.routes.pages import ASSETS_PATH, DOCUMENT_PATH, START_PATH, Pages
from lookalike_gateway.routes.responses import error_response
from lookalike_gateway.settings import GatewaySettings
from lookalike_gateway.transcoding.api import Api

_VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@asynccontextmanager
async def build(settings: GatewaySettings, *, api: Api | None = None) -> AsyncIterator[HttpServer]:
    """Yield the server, not yet started; `api` replaces the shipped one."""
    api = api or Api(load_image())
    registry = CollectorRegistry()
    async with Upstreams.opened(settings.targets) as upstreams:
        health = HealthEndpoints(upstreams, settings)
        app = _routes(
            ApiEndpoint(api, upstreams, _info(settings), settings),
            Pages(api, importlib.metadata.version("lookalike-gateway")),
            health,
        )
        edge = Edge(app, settings, HttpMetrics(registry))
        yield HttpServer(edge, settings.server, registry, health.drain)


def _routes(api: ApiEndpoint, pages: Pages, health: HealthEndpoints) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_route("/livez", health.live)
    app.add_route("/healthz", health.live)
    app.add_route("/readyz", health.ready)
    app.add_route(DOCUMENT_PATH, pages.document)
    app.add_route("/docs", pages.swagger)
    app.add_route(START_PATH, pages.start)
    app.add_route("/redoc", pages.redoc)
    app.mount(ASSETS_PATH, StaticFiles(directory=assets_folder()))
    app.add_route(API_PATH + "{rest:path}", api.serve, methods=list(_VERBS))
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(Exception, _defect)
    return app


def _info(settings: GatewaySettings) -> ServerInfoServicer:
    server = settings.server
    switches = {"tls": server.tls is not None, "auth": server.auth.tokens_file is not None}
    limits = {
        "max_body_bytes": int(settings.max_body_bytes),
        "max_concurrent_requests": server.max_concurrent_rpcs,
    }
    on = tuple(name for name, is_on in switches.items() if is_on)
    return ServerInfoServicer(ServerFacts(OWN_NAME, ("openapi",), on, limits))


async def _unknown(request: Request, _error: Exception) -> Response:
    """Answer in our own shape what Starlette would answer in its own."""
    path = request.url.path[:200]
    message = "there is nothing here; the API is described at /docs"
    return error_response(NotFoundError(message, resource_name=path))


async def _defect(_request: Request, error: Exception) -> Response:
    """Answer what is nobody's fault but ours; the edge logs it."""
    return error_response(InternalError(f"{type(error).__name__}: {error}"))
