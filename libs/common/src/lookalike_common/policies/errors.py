"""Fourth policy: whatever is raised becomes an error of the tree; nothing unknown leaks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import grpc

from lookalike_common.errors import (
    CallCancelledError,
    DeadlineExceededError,
    InternalError,
    LookalikeError,
)
from lookalike_common.policies._policy import Call, Policy
from lookalike_common.status import error_from_rpc

_CLOCK_TOLERANCE: Final = timedelta(milliseconds=20)


class ErrorsPolicy(Policy):
    """Translates exceptions; the chain then ends the call with their status."""

    def failed(self, call: Call, error: BaseException) -> BaseException:
        """Return the error of the tree that stands for `error`."""
        if isinstance(error, BaseExceptionGroup):
            error = _most_telling(error)
        match error:
            case LookalikeError():
                return error
            case asyncio.CancelledError():
                return _cancelled(call)
            case grpc.RpcError():
                return error_from_rpc(error)
            case TimeoutError():
                return DeadlineExceededError("the work was not done in time")
            case _:
                return InternalError(f"{type(error).__name__}: {error}")


def _cancelled(call: Call) -> LookalikeError:
    remaining = call.request.remaining()
    if remaining is not None and remaining <= _CLOCK_TOLERANCE:
        return DeadlineExceededError("the deadline passed before the work was done")
    return CallCancelledError("the call was cancelled")


def _most_telling(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of the tree in a group (of a TaskGroup), else the first at all."""
    found: BaseException = group.subgroup(LookalikeError) or group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
