"""The one tree of errors that all services raise.

A subclass fixes the status code and the reason (`lookalike.type.v1.ErrorReason` without its
prefix); whoever raises it says what happened and where. This module imports no gRPC, so domain
code may use it; `lookalike_common.status` turns the tree into statuses and back.

    LookalikeError
    ├── InvalidArgumentError            INVALID_ARGUMENT     INVALID_FIELD
    │   ├── LimitExceededError                               LIMIT_EXCEEDED
    │   ├── InvalidFilterError                               INVALID_FILTER
    │   ├── InvalidPageTokenError                            INVALID_PAGE_TOKEN
    │   ├── UnsupportedMediaError                            UNSUPPORTED_MEDIA
    │   ├── InvalidContentError                              INVALID_CONTENT
    │   ├── WrongModalityError                               WRONG_MODALITY
    │   ├── LocationNotAllowedError                          LOCATION_NOT_ALLOWED
    │   ├── UnsafeArchiveError                               UNSAFE_ARCHIVE
    │   └── HashMismatchError                                HASH_MISMATCH
    ├── OutOfRangeError                 OUT_OF_RANGE         INVALID_FIELD
    ├── NotFoundError                   NOT_FOUND            RESOURCE_NOT_FOUND
    ├── AlreadyExistsError              ALREADY_EXISTS       RESOURCE_EXISTS
    ├── EtagMismatchError               ABORTED              ETAG_MISMATCH
    ├── ConcurrentChangeError           ABORTED              CONCURRENT_CHANGE
    ├── FailedPreconditionError         FAILED_PRECONDITION
    │   ├── EncoderMismatchError                             ENCODER_MISMATCH
    │   ├── EncoderNotReadyError                             ENCODER_NOT_READY
    │   ├── CollectionNotReadyError                          COLLECTION_NOT_READY
    │   ├── WrongJobStateError                               WRONG_JOB_STATE
    │   ├── UnsupportedByBackendError                        UNSUPPORTED_BY_BACKEND
    │   ├── OffsetMismatchError                              OFFSET_MISMATCH
    │   └── SourceChangedError                               SOURCE_CHANGED
    ├── OverloadedError                 RESOURCE_EXHAUSTED   OVERLOADED
    ├── QuotaExceededError              RESOURCE_EXHAUSTED   QUOTA_EXCEEDED
    ├── StorageFullError                RESOURCE_EXHAUSTED   STORAGE_FULL
    ├── BackendUnavailableError         UNAVAILABLE          BACKEND_UNAVAILABLE
    ├── DeadlineExceededError           DEADLINE_EXCEEDED    DEADLINE_EXCEEDED
    ├── CallCancelledError              CANCELLED            CANCELLED
    ├── UnauthenticatedError            UNAUTHENTICATED      INVALID_TOKEN
    ├── PermissionDeniedError           PERMISSION_DENIED    MISSING_SCOPE
    ├── UnimplementedError              UNIMPLEMENTED        NOT_IMPLEMENTED
    └── InternalError                   INTERNAL             INTERNAL
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import ClassVar, Self


class Code(IntEnum):
    """The seventeen gRPC status codes, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One rule that one field of a request breaks."""

    field: str
    """Path such as `queries[0].content`; empty when the rule is about the whole message."""
    description: str


class LookalikeError(Exception):
    """What went wrong, in words for the caller; only `InternalError` keeps its text to itself."""

    code: ClassVar[Code] = Code.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        resource_type: str = "",
        resource_name: str = "",
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.resource_type = resource_type
        self.resource_name = resource_name
        self.retry_after = retry_after
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations) or ((FieldViolation(field, message),) if field else ())

    def at(self, prefix: str) -> Self:
        """Return a copy whose field paths start with `prefix`: `items[3]` + `content`."""
        moved = copy.copy(self)
        moved.field = join_path(prefix, self.field)
        described = self.violations or (FieldViolation("", self.message),)
        moved.violations = tuple(
            FieldViolation(join_path(prefix, each.field), each.description) for each in described
        )
        return moved


def join_path(prefix: str, field: str) -> str:
    """Join two field paths: `a` + `b` is `a.b`, `a` + `[0].b` is `a[0].b`."""
    if not prefix or not field or field.startswith("["):
        return prefix + field
    return f"{prefix}.{field}"


class InvalidArgumentError(LookalikeError):
    """A field of the request breaks its rule."""

    code = Code.INVALID_ARGUMENT
    reason = "INVALID_FIELD"


class LimitExceededError(InvalidArgumentError):
    """A published limit is exceeded."""

    reason = "LIMIT_EXCEEDED"


class InvalidFilterError(InvalidArgumentError):
    """The filter does not parse or does not fit the schema."""

    reason = "INVALID_FILTER"


class InvalidPageTokenError(InvalidArgumentError):
    """The page token is damaged, expired or belongs to another request."""

    reason = "INVALID_PAGE_TOKEN"


class UnsupportedMediaError(InvalidArgumentError):
    """The bytes are of no kind that can be read here."""

    reason = "UNSUPPORTED_MEDIA"


class InvalidContentError(InvalidArgumentError):
    """The content is damaged, truncated or empty."""

    reason = "INVALID_CONTENT"


class WrongModalityError(InvalidArgumentError):
    """The encoder or field does not take this modality."""

    reason = "WRONG_MODALITY"


class LocationNotAllowedError(InvalidArgumentError):
    """The path or address lies under no configured root or prefix."""

    reason = "LOCATION_NOT_ALLOWED"


class UnsafeArchiveError(InvalidArgumentError):
    """The archive is nested, lies about sizes or names files outside itself."""

    reason = "UNSAFE_ARCHIVE"


class HashMismatchError(InvalidArgumentError):
    """The bytes do not have the announced size or hash."""

    reason = "HASH_MISMATCH"


class OutOfRangeError(LookalikeError):
    """A position lies beyond the end of what is read."""

    code = Code.OUT_OF_RANGE
    reason = "INVALID_FIELD"


class NotFoundError(LookalikeError):
    """The named resource does not exist, or is not the caller's."""

    code = Code.NOT_FOUND
    reason = "RESOURCE_NOT_FOUND"


class AlreadyExistsError(LookalikeError):
    """Another resource has the name."""

    code = Code.ALREADY_EXISTS
    reason = "RESOURCE_EXISTS"


class EtagMismatchError(LookalikeError):
    """The resource changed since its etag was read."""

    code = Code.ABORTED
    reason = "ETAG_MISMATCH"


class ConcurrentChangeError(LookalikeError):
    """Another, or a newer, change of the same resource is under way."""

    code = Code.ABORTED
    reason = "CONCURRENT_CHANGE"


class FailedPreconditionError(LookalikeError):
    """The state of the system forbids this; raise a subclass, which has a reason of its own."""

    code = Code.FAILED_PRECONDITION
    reason = "UNSPECIFIED"


class EncoderMismatchError(FailedPreconditionError):
    """Encoder, dimensions or metric are not those the collection is bound to."""

    reason = "ENCODER_MISMATCH"


class EncoderNotReadyError(FailedPreconditionError):
    """The encoder is not loaded, or failed its golden check."""

    reason = "ENCODER_NOT_READY"


class CollectionNotReadyError(FailedPreconditionError):
    """The collection is released or being deleted."""

    reason = "COLLECTION_NOT_READY"


class WrongJobStateError(FailedPreconditionError):
    """The job's state does not allow this."""

    reason = "WRONG_JOB_STATE"


class UnsupportedByBackendError(FailedPreconditionError):
    """The Milvus in use cannot do this; the message names what is lacking."""

    reason = "UNSUPPORTED_BY_BACKEND"


class OffsetMismatchError(FailedPreconditionError):
    """The upload stands at another offset."""

    reason = "OFFSET_MISMATCH"


class SourceChangedError(FailedPreconditionError):
    """The source changed or vanished while it was read."""

    reason = "SOURCE_CHANGED"


class OverloadedError(LookalikeError):
    """The server is full for the moment; give `retry_after`."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"


class QuotaExceededError(LookalikeError):
    """A quota or rate of the caller is used up."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"


class StorageFullError(LookalikeError):
    """The service's disk or memory is full; an operator must act."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "STORAGE_FULL"


class BackendUnavailableError(LookalikeError):
    """A part this service needs is away."""

    code = Code.UNAVAILABLE
    reason = "BACKEND_UNAVAILABLE"


class DeadlineExceededError(LookalikeError):
    """The deadline passed before the work was done."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class CallCancelledError(LookalikeError):
    """The caller went away or cancelled."""

    code = Code.CANCELLED
    reason = "CANCELLED"


class UnauthenticatedError(LookalikeError):
    """The token is missing, expired or not valid."""

    code = Code.UNAUTHENTICATED
    reason = "INVALID_TOKEN"


class PermissionDeniedError(LookalikeError):
    """The token lacks the scope."""

    code = Code.PERMISSION_DENIED
    reason = "MISSING_SCOPE"


class UnimplementedError(LookalikeError):
    """This release does not do that yet; the message names the field or the call."""

    code = Code.UNIMPLEMENTED
    reason = "NOT_IMPLEMENTED"


class InternalError(LookalikeError):
    """A defect. Its message is logged and never sent: callers get a fixed text."""

    code = Code.INTERNAL
    reason = "INTERNAL"


def all_errors(root: type[LookalikeError] = LookalikeError) -> Iterator[type[LookalikeError]]:
    """Yield every class of the tree below `root`, parents first."""
    for child in root.__subclasses__():
        yield child
        yield from all_errors(child)


def error_class(code: int, reason: str) -> type[LookalikeError]:
    """Return the class for a status; without a known reason, the most general one of the code."""
    of_code = [each for each in all_errors() if each.code == code]
    exact = [each for each in of_code if each.reason == reason]
    return (exact or of_code or [InternalError])[0]
