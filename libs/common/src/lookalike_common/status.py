"""Turns the error tree into `google.rpc.Status` and back: the only place where this is done.

A server puts the status into the trailer `grpc-status-details-bin`; bulk replies and job failures
carry it in the message. Detail sizes are capped, because trailers share a small budget (8 KiB).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from lookalike_common.context import current_context
from lookalike_common.errors import (
    BackendUnavailableError,
    CallCancelledError,
    Code,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    LookalikeError,
    OverloadedError,
    error_class,
)

DOMAIN: Final = "lookalike"
DETAILS_KEY: Final = "grpc-status-details-bin"

_MAX_VIOLATIONS: Final = 16
_MAX_DESCRIPTION: Final = 240
_MAX_MESSAGE: Final = 1000

_WITHOUT_DETAILS: Final[dict[Code, type[LookalikeError]]] = {
    Code.UNAVAILABLE: BackendUnavailableError,
    Code.DEADLINE_EXCEEDED: DeadlineExceededError,
    Code.CANCELLED: CallCancelledError,
    Code.RESOURCE_EXHAUSTED: OverloadedError,
}
"""What the codes mean that gRPC itself or a proxy answers; other bare codes are defects."""

_Detail = TypeVar("_Detail", bound=Message)


def to_status(error: LookalikeError, request_id: str | None = None) -> status_pb2.Status:
    """Return the status that tells a caller about `error`.

    The request id is that of the running call unless given. The text of an `InternalError` is
    replaced by a fixed one.
    """
    if request_id is None:
        request_id = current_context().request_id
    status = status_pb2.Status(code=error.code, message=_public_message(error, request_id))
    for detail in _details(error, request_id):
        status.details.add().Pack(detail)
    return status


def internal_message(request_id: str) -> str:
    """Return the fixed text of every INTERNAL error."""
    return f"internal error; report request id {request_id or 'unknown'}"


def _public_message(error: LookalikeError, request_id: str) -> str:
    if isinstance(error, InternalError) or error.code is Code.INTERNAL:
        return internal_message(request_id)
    if error.field and error.message:
        return _cut(f"{error.field}: {error.message}", _MAX_MESSAGE)
    return _cut(error.message, _MAX_MESSAGE)


def _details(error: LookalikeError, request_id: str) -> Iterable[Message]:
    hidden = error.code is Code.INTERNAL
    metadata = {} if hidden else {key: str(value) for key, value in error.metadata.items()}
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    if error.violations and not hidden:
        yield _bad_request(error.violations)
    if error.resource_name or error.resource_type:
        yield error_details_pb2.ResourceInfo(
            resource_type=error.resource_type, resource_name=error.resource_name
        )
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        yield retry
    if request_id:
        yield error_details_pb2.RequestInfo(request_id=request_id)


def _bad_request(violations: Iterable[FieldViolation]) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for each in list(violations)[:_MAX_VIOLATIONS]:
        bad.field_violations.add(
            field=_cut(each.field, _MAX_DESCRIPTION),
            description=_cut(each.description, _MAX_DESCRIPTION),
        )
    return bad


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def error_from_status(status: status_pb2.Status) -> LookalikeError:
    """Return the error that `status` tells of, with its reason, fields, resource and delay."""
    info = _unpack(status, error_details_pb2.ErrorInfo)
    if info is None or info.domain != DOMAIN:
        return _error_without_details(status.code, status.message)
    bad = _unpack(status, error_details_pb2.BadRequest)
    resource = _unpack(status, error_details_pb2.ResourceInfo)
    violations = (
        ()
        if bad is None
        else tuple(FieldViolation(each.field, each.description) for each in bad.field_violations)
    )
    field = violations[0].field if violations else ""
    return error_class(status.code, info.reason)(
        status.message.removeprefix(f"{field}: ") if field else status.message,
        field=field,
        resource_type="" if resource is None else resource.resource_type,
        resource_name="" if resource is None else resource.resource_name,
        retry_after=_retry_after(status),
        metadata=dict(info.metadata),
        violations=violations,
    )


def _retry_after(status: status_pb2.Status) -> timedelta | None:
    retry = _unpack(status, error_details_pb2.RetryInfo)
    return None if retry is None else retry.retry_delay.ToTimedelta()


def error_from_rpc(error: grpc.RpcError) -> LookalikeError:
    """Return the error a call to another service ended with.

    Without our details (gRPC itself or a proxy answered) UNAVAILABLE, DEADLINE_EXCEEDED,
    CANCELLED and RESOURCE_EXHAUSTED keep their meaning; anything else is an `InternalError`.
    """
    code, message, trailers = _parts(error)
    for key, value in trailers:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return error_from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return _error_without_details(code, message)


def _parts(error: grpc.RpcError) -> tuple[int, str, Iterable[tuple[str, str | bytes]]]:
    """Return code number, details and trailers of an RpcError, which need not have any."""
    if not isinstance(error, grpc.aio.AioRpcError | grpc.Call):
        return int(Code.UNKNOWN), str(error), ()
    number: int = error.code().value[0]
    return number, error.details() or "", error.trailing_metadata() or ()


def _error_without_details(code: int, message: str) -> LookalikeError:
    known = Code(code) if code in set(Code) else Code.UNKNOWN
    kind = _WITHOUT_DETAILS.get(known)
    if kind is None:
        return InternalError(f"another service answered {known.name}: {message}")
    return kind(message or known.name)


def _unpack(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    for packed in status.details:
        detail = kind()
        if packed.Is(detail.DESCRIPTOR) and packed.Unpack(detail):
            return detail
    return None
