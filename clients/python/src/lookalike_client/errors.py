"""The one exception tree of this library, and how it is made from gRPC's statuses.

LookalikeError
├── InvalidRequestError     INVALID_ARGUMENT, OUT_OF_RANGE   correct the request; see `field`
├── NotFoundError           NOT_FOUND                        see `resource`
├── AlreadyExistsError      ALREADY_EXISTS                   choose another name
├── ConflictError           ABORTED                          read again, then repeat
├── PreconditionError       FAILED_PRECONDITION              something else must change first
├── ExhaustedError          RESOURCE_EXHAUSTED               repeat after `retry_after`
├── UnavailableError        UNAVAILABLE                      repeat with back-off
├── DeadlineError           DEADLINE_EXCEEDED                allow more time, or ask for less
├── CallCancelledError      CANCELLED                        the caller gave up
├── AccessError             UNAUTHENTICATED, PERMISSION_DENIED
└── ServerError             all others                       report `request_id`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, cast

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lookalike_client._names import REQUEST_ID_KEY


@dataclass(eq=False)
class LookalikeError(Exception):
    """A call, or one item of it, failed."""

    message: str
    """What went wrong, for people."""
    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    """gRPC's code."""
    reason: str = ""
    """Name of a `lookalike.type.v1.ErrorReason` without its prefix; empty: the server gave none."""
    field: str = ""
    """Path of the request's field that is to blame, such as `queries[0].content`."""
    resource: str = ""
    """Name of the resource that is missing, in the way or not the caller's."""
    request_id: str = ""
    """What to report to the operators."""
    retry_after: timedelta | None = None
    """How long to wait before repeating the call."""

    def __str__(self) -> str:
        """One line: message, then what helps to act on it."""
        hints = {"reason": self.reason, "request id": self.request_id}
        return self._line(hints)

    def brief(self) -> str:
        """One line for the person who made the request: nothing that only operators need."""
        return self._line({})

    def _line(self, hints: Mapping[str, str]) -> str:
        places = {"field": self.field, "resource": self.resource}
        named = {name: value for name, value in places.items() if value not in self.message}
        known = ", ".join(f"{name} {value}" for name, value in {**named, **hints}.items() if value)
        return f"{self.message} ({known})" if known else self.message

    @classmethod
    def from_call(cls, error: grpc.RpcError) -> "LookalikeError":
        """Translate what gRPC raised."""
        call = cast("grpc.Call", error)  # what stubs raise is both, which its types cannot say
        metadata = dict(call.trailing_metadata() or ())
        status = rpc_status.from_call(call)
        if status is None:
            status = status_pb2.Status(code=call.code().value[0], message=call.details() or "")
        return cls.from_status(status, request_id=str(metadata.get(REQUEST_ID_KEY, "")))

    @classmethod
    def from_status(cls, status: status_pb2.Status, *, request_id: str = "") -> "LookalikeError":
        """Translate a status, as it comes with a call or with one item of a bulk reply."""
        code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
        details = _Details.of(status)
        return _CLASSES.get(code, ServerError)(
            message=status.message or code.name,
            code=code,
            reason=details.error.reason,
            field=next((v.field for v in details.request.field_violations), ""),
            resource=details.resource.resource_name,
            request_id=details.origin.request_id or request_id,
            retry_after=details.retry_after,
        )


class InvalidRequestError(LookalikeError):
    """The request breaks a rule; `field` says where."""


class NotFoundError(LookalikeError):
    """`resource` does not exist."""


class AlreadyExistsError(LookalikeError):
    """The name is taken."""


class ConflictError(LookalikeError):
    """Somebody else changed the same thing."""


class PreconditionError(LookalikeError):
    """The state of something else forbids the call."""


class ExhaustedError(LookalikeError):
    """A queue, quota or disk is full."""


class UnavailableError(LookalikeError):
    """The service, or something that it needs, cannot be reached."""


class DeadlineError(LookalikeError):
    """The time for the call was over before it was done."""


class CallCancelledError(LookalikeError):
    """The call was cancelled."""


class AccessError(LookalikeError):
    """The token is missing, not valid, or not enough."""


class ServerError(LookalikeError):
    """A defect of the server, or something this library does not know."""


_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_CLASSES: Mapping[grpc.StatusCode, type[LookalikeError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNAUTHENTICATED: AccessError,
    grpc.StatusCode.PERMISSION_DENIED: AccessError,
}


class _Details:
    """The details that a status can carry; those that it lacks are empty messages."""

    def __init__(self) -> None:
        self.error = error_details_pb2.ErrorInfo()
        self.request = error_details_pb2.BadRequest()
        self.resource = error_details_pb2.ResourceInfo()
        self.origin = error_details_pb2.RequestInfo()
        self.retry = error_details_pb2.RetryInfo()

    @classmethod
    def of(cls, status: status_pb2.Status) -> Self:
        details = cls()
        known: tuple[Message, ...] = tuple(vars(details).values())
        for packed in status.details:
            for message in known:
                packed.Unpack(message)
        return details

    @property
    def retry_after(self) -> timedelta | None:
        if not self.retry.HasField("retry_delay"):
            return None
        delay: timedelta = self.retry.retry_delay.ToTimedelta()
        return delay
