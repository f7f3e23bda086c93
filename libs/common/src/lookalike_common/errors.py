"""The one tree of errors that all services raise.

A subclass fixes the status code and the reason (`lookalike.type.v1.ErrorReason` without its
prefix); whoever raises it says what happened and where. This module imports no gRPC, so domain
code may use it; `lookalike_common.status` turns the tree into statuses and back.
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

    def __init_subclass__(cls, *, reason: str = "", code: Code | None = None) -> None:
        super().__init_subclass__()
        cls.reason = reason or cls.reason
        cls.code = cls.code if code is None else code

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


class InvalidArgumentError(LookalikeError, reason="INVALID_FIELD", code=Code.INVALID_ARGUMENT):
    """A field of the request breaks its rule."""


class LimitExceededError(InvalidArgumentError, reason="LIMIT_EXCEEDED"):
    """A published limit is exceeded."""


class InvalidFilterError(InvalidArgumentError, reason="INVALID_FILTER"):
    """The filter does not parse or does not fit the schema."""


class InvalidPageTokenError(InvalidArgumentError, reason="INVALID_PAGE_TOKEN"):
    """The page token is damaged, expired or belongs to another request."""


class UnsupportedMediaError(InvalidArgumentError, reason="UNSUPPORTED_MEDIA"):
    """The bytes are of no kind that can be read here."""


class InvalidContentError(InvalidArgumentError, reason="INVALID_CONTENT"):
    """The content is damaged, truncated or empty."""


class WrongModalityError(InvalidArgumentError, reason="WRONG_MODALITY"):
    """The encoder or field does not take this modality."""


class LocationNotAllowedError(InvalidArgumentError, reason="LOCATION_NOT_ALLOWED"):
    """The path or address lies under no configured root or prefix."""


class UnsafeArchiveError(InvalidArgumentError, reason="UNSAFE_ARCHIVE"):
    """The archive is nested, lies about sizes or names files outside itself."""


class HashMismatchError(InvalidArgumentError, reason="HASH_MISMATCH"):
    """The bytes do not have the announced size or hash."""


class OutOfRangeError(LookalikeError, reason="INVALID_FIELD", code=Code.OUT_OF_RANGE):
    """A position lies beyond the end of what is read."""


class NotFoundError(LookalikeError, reason="RESOURCE_NOT_FOUND", code=Code.NOT_FOUND):
    """The named resource does not exist, or is not the caller's."""


class AlreadyExistsError(LookalikeError, reason="RESOURCE_EXISTS", code=Code.ALREADY_EXISTS):
    """Another resource has the name."""


class EtagMismatchError(LookalikeError, reason="ETAG_MISMATCH", code=Code.ABORTED):
    """The resource changed since its etag was read."""


class ConcurrentChangeError(LookalikeError, reason="CONCURRENT_CHANGE", code=Code.ABORTED):
    """Another, or a newer, change of the same resource is under way."""


class FailedPreconditionError(LookalikeError, reason="UNSPECIFIED", code=Code.FAILED_PRECONDITION):
    """The state of the system forbids this; raise a subclass, which has a reason of its own."""


class EncoderMismatchError(FailedPreconditionError, reason="ENCODER_MISMATCH"):
    """Encoder, dimensions or metric are not those the collection is bound to."""


class EncoderNotReadyError(FailedPreconditionError, reason="ENCODER_NOT_READY"):
    """The encoder is not loaded, or failed its golden check."""


class WrongOperationError(FailedPreconditionError, reason="WRONG_OPERATION"):
    """The encoder cannot do what is asked."""


class CollectionNotReadyError(FailedPreconditionError, reason="COLLECTION_NOT_READY"):
    """The collection is released or being deleted."""


class WrongJobStateError(FailedPreconditionError, reason="WRONG_JOB_STATE"):
    """The job's state does not allow this."""


class UnsupportedByBackendError(FailedPreconditionError, reason="UNSUPPORTED_BY_BACKEND"):
    """The Milvus in use cannot do this; the message names what is lacking."""


class OffsetMismatchError(FailedPreconditionError, reason="OFFSET_MISMATCH"):
    """The upload stands at another offset."""


class SourceChangedError(FailedPreconditionError, reason="SOURCE_CHANGED"):
    """The source changed or vanished while it was read."""


class OverloadedError(LookalikeError, reason="OVERLOADED", code=Code.RESOURCE_EXHAUSTED):
    """The server is full for the moment; give `retry_after`."""


class QuotaExceededError(LookalikeError, reason="QUOTA_EXCEEDED", code=Code.RESOURCE_EXHAUSTED):
    """A quota or rate of the caller is used up."""


class StorageFullError(LookalikeError, reason="STORAGE_FULL", code=Code.RESOURCE_EXHAUSTED):
    """The service's disk or memory is full; an operator must act."""


class BackendUnavailableError(LookalikeError, reason="BACKEND_UNAVAILABLE", code=Code.UNAVAILABLE):
    """A part this service needs is away."""


class DeadlineExceededError(
    LookalikeError, reason="DEADLINE_EXCEEDED", code=Code.DEADLINE_EXCEEDED
):
    """The deadline passed before the work was done."""


class CallCancelledError(LookalikeError, reason="CANCELLED", code=Code.CANCELLED):
    """The caller went away or cancelled."""


class UnauthenticatedError(LookalikeError, reason="INVALID_TOKEN", code=Code.UNAUTHENTICATED):
    """The token is missing, expired or not valid."""


class PermissionDeniedError(LookalikeError, reason="MISSING_SCOPE", code=Code.PERMISSION_DENIED):
    """The token lacks the scope."""


class UnimplementedError(LookalikeError, reason="NOT_IMPLEMENTED", code=Code.UNIMPLEMENTED):
    """This release does not do that yet; the message names the field or the call."""


class InternalError(LookalikeError, reason="INTERNAL", code=Code.INTERNAL):
    """A defect. Its message is logged and never sent: callers get a fixed text."""


def all_errors(root: type[LookalikeError] = LookalikeError) -> Iterator[type[LookalikeError]]:
    """Yield every class of the tree below `root`, parents first; not what services made of them."""
    for child in root.__subclasses__():
        if child.__module__ == __name__:
            yield child
            yield from all_errors(child)


def error_class(code: int, reason: str) -> type[LookalikeError]:
    """Return the class for a status; without a known reason, the most general one of the code."""
    of_code = [each for each in all_errors() if each.code == code]
    exact = [each for each in of_code if each.reason == reason]
    return (exact or of_code or [InternalError])[0]
