"""Errors over HTTP: the status codes of google.rpc.Code, and a body of the shape of AIP-193."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool

from lookalike_common.errors import (
    CallCancelledError,
    Code,
    InvalidArgumentError,
    LimitExceededError,
    LookalikeError,
    PermissionDeniedError,
    UnimplementedError,
)
from lookalike_common.status import to_status

HTTP_STATUS: Final[Mapping[Code, int]] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""As google/rpc/code.proto has it."""


class HttpOnlyError(LookalikeError):
    """An error that HTTP has a status of its own for."""

    http_status: ClassVar[int] = 500


class BodyTooLargeError(LimitExceededError, HttpOnlyError):
    """The body is longer than is read."""

    http_status = 413


class UnsupportedContentTypeError(InvalidArgumentError, HttpOnlyError):
    """The body is announced as something else than JSON."""

    reason = "UNSUPPORTED_MEDIA"
    http_status = 415


class MethodNotAllowedError(UnimplementedError, HttpOnlyError):
    """The path takes other HTTP methods."""

    http_status = 405

    def __init__(self, allowed: list[str]) -> None:
        super().__init__(f"this path takes {', '.join(allowed)}")
        self.allowed = allowed


class ForeignOriginError(PermissionDeniedError):
    """A page of another site, or somebody by another name of this machine, wants to call."""

    reason = "INVALID_FIELD"


class ClientGoneError(CallCancelledError):
    """The caller went away before the reply; nobody reads this."""


def http_status(error: LookalikeError) -> int:
    """Return the HTTP status of an error."""
    return error.http_status if isinstance(error, HttpOnlyError) else HTTP_STATUS[error.code]


def error_headers(error: LookalikeError) -> dict[str, str]:
    """Return the headers that go with an error."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after.total_seconds()))
    if error.code is Code.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowedError):
        headers["allow"] = ", ".join(error.allowed)
    return headers


def error_json(error: LookalikeError, pool: DescriptorPool | None = None) -> bytes:
    """Return `{"error": {"code", "message", "status", "details"}}` for an error."""
    status = to_status(error)
    details = json_format.MessageToDict(status, descriptor_pool=pool).get("details", [])
    body = {
        "code": http_status(error),
        "message": status.message,
        "status": error.code.name,
        "details": details,
    }
    return orjson.dumps({"error": body})
