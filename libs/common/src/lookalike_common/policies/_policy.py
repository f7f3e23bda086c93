"""What a policy is, and what it sees of a call."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from lookalike_common.context import NO_REQUEST, RequestContext, set_context
from lookalike_common.errors import Code

# Any: one context type for the messages of all methods.
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Method:
    """One rpc of a server; the same object for all its calls."""

    service: str
    """Full name, such as `lookalike.search.v1.SearchService`."""
    name: str
    """Short name, such as `Search`."""
    kind: str
    """`unary`, `client_stream`, `server_stream` or `bidi_stream`."""

    @cached_property
    def path(self) -> str:
        """The name on the wire: `/lookalike.search.v1.SearchService/Search`."""
        return f"/{self.service}/{self.name}"

    @cached_property
    def is_infrastructure(self) -> bool:
        """Whether it is health or reflection, which need no token and no free slot."""
        return self.service.startswith("grpc.")

    @cached_property
    def is_public(self) -> bool:
        """Whether it needs no token."""
        return self.is_infrastructure or self.service == "lookalike.type.v1.ServerInfoService"


class Call:
    """One call while it is served."""

    __slots__ = ("code", "context", "depth", "error", "metadata", "method", "request", "started")

    def __init__(self, method: Method, context: Context) -> None:
        self.method = method
        self.context = context
        self.metadata: Mapping[str, str | bytes] = dict(context.invocation_metadata() or ())
        """Request headers; of repeated ones the last."""
        self.request: RequestContext = NO_REQUEST
        self.code = Code.OK
        """How it ended; final when `finish` runs."""
        self.error: BaseException | None = None
        """What the handler or a policy raised, before any translation."""
        self.started = time.perf_counter()
        self.depth = 0
        """How many policies have started it."""

    def set_request(self, request: RequestContext) -> None:
        """Make `request` the context of this call and of the task that serves it."""
        self.request = request
        set_context(request)


class Policy:
    """One concern of all calls. Override what it needs; a hook that is not overridden is free.

    Hooks are plain functions on the event loop: they must not block.
    """

    def start(self, call: Call) -> None:
        """Look at a new call; raise to refuse it."""

    def message(self, call: Call, message: Message, size: int) -> Awaitable[None] | None:
        """Look at a request message of `size` bytes; raise, or return what to await, to refuse."""

    def failed(
        self,
        call: Call,  # noqa: ARG002 - for those who override it
        error: BaseException,
    ) -> BaseException:
        """Return what an error of this policy, a later one or the handler becomes."""
        return error

    def finish(self, call: Call) -> None:
        """Look at the end of a call that `start` let pass."""
