"""The documentation: the OpenAPI document, Swagger UI and Redoc, none of which needs the net.

The pages hold no script of their own, and their policy lets a browser load nothing from elsewhere.
"""

from __future__ import annotations

from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lookalike_gateway.adapters.page_assets import REDOC_SCRIPT, SWAGGER_SCRIPT, SWAGGER_STYLE
from lookalike_gateway.openapi import openapi_document
from lookalike_gateway.routes.edge import ROUTE
from lookalike_gateway.routes.responses import JsonResponse
from lookalike_gateway.transcoding.api import Api

DOCUMENT_PATH: Final = "/openapi.json"
ASSETS_PATH: Final = "/docs/assets"
START_PATH: Final = "/docs/start.js"

_POLICY: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
}
_SWAGGER: Final = f"""\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Lookalike API</title>
    <link rel="stylesheet" href="{ASSETS_PATH}/{SWAGGER_STYLE}">
    <link rel="icon" href="data:,">
  </head>
  <body>
    <div id="ui"></div>
    <script src="{ASSETS_PATH}/{SWAGGER_SCRIPT}"></script>
    <script src="{START_PATH}"></script>
  </body>
</html>
"""
_START: Final = f"""\
SwaggerUIBundle({{
  url: "{DOCUMENT_PATH}",
  dom_id: "#ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
}});
"""
_REDOC: Final = f"""\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Lookalike API</title>
    <link rel="icon" href="data:,">
  </head>
  <body>
    <redoc spec-url="{DOCUMENT_PATH}"></redoc>
    <script src="{ASSETS_PATH}/{REDOC_SCRIPT}"></script>
  </body>
</html>
"""


class Pages:
    """Serves the document and the pages that show it."""

    def __init__(self, api: Api, version: str) -> None:
        self._document = orjson.dumps(openapi_document(api, version))

    async def document(self, request: Request) -> Response:
        """Answer the OpenAPI document."""
        request.scope[ROUTE] = DOCUMENT_PATH
        return JsonResponse(self._document)

    async def swagger(self, request: Request) -> Response:
        """Answer the page of Swagger UI."""
        request.scope[ROUTE] = "/docs"
        return HTMLResponse(_SWAGGER, headers=_POLICY)

    async def start(self, request: Request) -> Response:
        """Answer the script that starts Swagger UI."""
        request.scope[ROUTE] = "/docs"
        return Response(_START, media_type="text/javascript")

    async def redoc(self, request: Request) -> Response:
        """Answer the page of Redoc."""
        request.scope[ROUTE] = "/redoc"
        return HTMLResponse(_REDOC, headers=_POLICY)
