"""What is known about the call being served, for every layer below the rpc handlers.

The interceptors set one `RequestContext` per call; jobs, which run outside of any call, set their
own with `use_context`. Logging and outgoing channels read it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

REQUEST_ID_HEADER: Final = "x-request-id"
"""Under this name a request id travels from service to service."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One call: who asks, under which id, until when."""

    request_id: str = ""
    """Travels through all services and log lines; the caller's own, or made here."""
    tenant: str = ""
    """Whose data is touched; empty without auth."""
    scopes: frozenset[str] = frozenset()
    """What the caller's token allows; empty without auth, where everything is allowed."""
    method: str = ""
    """Full method, such as `/lookalike.search.v1.SearchService/Search`."""
    deadline: float | None = None
    """When the caller gives up, on the clock of `time.monotonic()`; None for never."""

    def remaining(self) -> timedelta | None:
        """Return the time left until the deadline, never negative; None without a deadline."""
        if self.deadline is None:
            return None
        return timedelta(seconds=max(0.0, self.deadline - time.monotonic()))


NO_REQUEST = RequestContext()
"""What `current_context` answers outside of any call."""

_current: ContextVar[RequestContext] = ContextVar("lookalike_request", default=NO_REQUEST)


def current_context() -> RequestContext:
    """Return the context of the call being served, or `NO_REQUEST`."""
    return _current.get()


def set_context(context: RequestContext) -> None:
    """Set the context for the rest of the running task; for whoever owns the task."""
    _current.set(context)


@contextmanager
def use_context(context: RequestContext) -> Iterator[RequestContext]:
    """Set the context within a block, as a job does for the tenant it works for."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def new_request_id() -> str:
    """Return a fresh request id: 32 hexadecimal digits."""
    return uuid.uuid4().hex
