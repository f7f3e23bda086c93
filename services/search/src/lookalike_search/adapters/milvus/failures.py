"""What Milvus answers when something is wrong, and what that means here.

Its texts are for the log; callers see ours.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, ParamSpec, Protocol, TypeVar

import grpc
import grpc.aio
from pymilvus.grpc_gen import common_pb2

from lookalike_common.errors import (
    BackendUnavailableError,
    CollectionNotReadyError,
    DeadlineExceededError,
    InternalError,
    LimitExceededError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
    StorageFullError,
    UnsupportedByBackendError,
)
from lookalike_search.catalog import COLLECTION

_logger = logging.getLogger(__name__)

Args = ParamSpec("Args")
Result = TypeVar("Result")

RETRY_AFTER: Final = timedelta(seconds=1)

_OVERLOADED: Final = frozenset({8, 9})
_OVERLOADED_LEGACY: Final = frozenset({48, 49, 52, 53, 54, 55})
"""Rate limits and quotas, by new and old numbers."""
_RECOVERING: Final = frozenset({401, 500, 501, 503, 601, 602, 901, 902, 903, 905})
_RECOVERING_LEGACY: Final = frozenset({45, 46, 47, 56, 57})
"""A replica, channel, segment or node that is away or not there yet, as after a standstill."""
_CHANNEL_GOES: Final = "channel not available"
_TOO_MANY_COLLECTIONS: Final = 102
_UNKNOWN_INDEX: Final = "index type not supported"
_INDEX_FIELD: Final = "collection.vector_fields.index.type"
_NOT_SERVING: Final = frozenset({2, 3})
"""Not ready yet, and unavailable."""


class MilvusFailure(Exception):  # noqa: N818 - an answer that the adapter may expect
    """A status other than success."""

    def __init__(self, call: str, status: common_pb2.Status) -> None:
        super().__init__(f"{call}: {status.reason} (code {status.code}/{status.error_code})")
        self.code = int(status.code)
        self.legacy_code = int(status.error_code)
        self.text = status.reason

    @property
    def is_missing_collection(self) -> bool:
        """No collection or alias of that name, or no such database."""
        return (
            self.code in {100, 800}
            or self.legacy_code == common_pb2.CollectionNotExists
            or ("database" in self.text and "does not exist" in self.text)
        )

    @property
    def is_not_loaded(self) -> bool:
        """The collection is not in memory, or not all of it."""
        return self.code in {101, 103} or self.legacy_code == 101

    @property
    def is_momentary(self) -> bool:
        """Milvus, or a part of it, is just coming up, or going."""
        return (
            self.code in _NOT_SERVING | _RECOVERING
            or self.legacy_code in _RECOVERING_LEGACY
            or _CHANNEL_GOES in self.text  # without its code, where a read waited on it
        )

    @property
    def is_missing_alias(self) -> bool:
        """No such alias."""
        return self.code in {100, 1600}

    @property
    def is_missing_index(self) -> bool:
        """The field has no index."""
        return self.code == 700 or self.legacy_code == common_pb2.IndexNotExist

    def translated(self) -> LookalikeError:
        """Return the error for callers where nobody expected this answer."""
        if self.is_missing_collection:
            return gone()
        if self.is_momentary:
            return BackendUnavailableError("Milvus is not ready", retry_after=RETRY_AFTER)
        if self.code in _OVERLOADED or self.legacy_code in _OVERLOADED_LEGACY:
            _logger.warning("Milvus refuses: %s", self)
            return OverloadedError("Milvus is at its limit", retry_after=RETRY_AFTER)
        if self.code == _TOO_MANY_COLLECTIONS:
            return StorageFullError("Milvus has as many collections as it is allowed to have")
        if _UNKNOWN_INDEX in self.text:
            return UnsupportedByBackendError(
                "the Milvus in use was built without this type of index", field=_INDEX_FIELD
            )
        return InternalError(f"Milvus answered {self}")


def translated(
    method: Callable[Args, Coroutine[Any, Any, Result]],
) -> Callable[Args, Coroutine[Any, Any, Result]]:
    """Turn answers that nobody expected into errors of the common tree."""

    @functools.wraps(method)
    async def translating(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        try:
            return await method(*args, **kwargs)
        except MilvusFailure as failure:
            raise failure.translated() from failure

    return translating


class ForbiddenError(BackendUnavailableError):
    """Milvus knows this service's user, who may not do this."""


class Answer(Protocol):
    """Replies that carry a status."""

    @property
    def status(self) -> common_pb2.Status:
        """How it went."""


def check_answer(call: str, answer: Answer | common_pb2.Status) -> None:
    """Raise `MilvusFailure` unless the answer says success."""
    status = answer if isinstance(answer, common_pb2.Status) else answer.status
    if status.code or status.error_code:
        raise MilvusFailure(call, status)


def gone() -> NotFoundError:
    """Return the error for a collection that is not there."""
    return NotFoundError("there is no such collection", resource_type=COLLECTION)


def not_loaded() -> CollectionNotReadyError:
    """Return the error for a collection that was released."""
    return CollectionNotReadyError("the collection is released; LoadCollection brings it back")


def unavailable() -> BackendUnavailableError:
    """Return the error for a Milvus that cannot be reached."""
    return BackendUnavailableError("Milvus cannot be reached", retry_after=RETRY_AFTER)


def translate_rpc_error(call: str, error: grpc.aio.AioRpcError) -> LookalikeError:
    """Return the error for a call that ended without an answer."""
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError("Milvus did not answer in time")
        case grpc.StatusCode.UNIMPLEMENTED:
            return UnsupportedByBackendError(f"the Milvus in use has no {call}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return LimitExceededError("the request is larger than Milvus takes")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED as code:
            _logger.error("Milvus refuses this service at %s: %s", call, error.details())
            known = code is grpc.StatusCode.PERMISSION_DENIED
            kind = ForbiddenError if known else BackendUnavailableError
            return kind("Milvus refuses the user of this service")
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return unavailable()
        case _:
            return InternalError(f"{call} ended with {error.code()}: {error.details()}")
