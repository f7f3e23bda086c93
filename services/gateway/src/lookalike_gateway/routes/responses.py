"""Responses that several routes share."""

from __future__ import annotations

from starlette.responses import Response

from lookalike_common.errors import LookalikeError
from lookalike_gateway.transcoding.http_errors import error_headers, error_json, http_status


class JsonResponse(Response):
    """A body that is JSON already."""

    media_type = "application/json"


def error_response(error: LookalikeError) -> Response:
    """Return the response that tells about an error."""
    return JsonResponse(error_json(error), http_status(error), error_headers(error))
