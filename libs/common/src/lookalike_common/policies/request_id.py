"""First policy: gives each call a request id and the context that all layers below read."""

from __future__ import annotations

import re
import time
from typing import Final

from lookalike_common.context import REQUEST_ID_HEADER, RequestContext, new_request_id
from lookalike_common.policies._policy import Call, Policy

_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestIdPolicy(Policy):
    """Takes the caller's `x-request-id` or makes one, and returns it in the trailers."""

    def start(self, call: Call) -> None:
        """Set the request context."""
        given = call.metadata.get(REQUEST_ID_HEADER)
        accepted = isinstance(given, str) and _ACCEPTED.fullmatch(given)
        request_id = given if accepted and isinstance(given, str) else new_request_id()
        remaining: float | None = call.context.time_remaining()
        call.set_request(
            RequestContext(
                request_id=request_id,
                method=call.method.path,
                deadline=None if remaining is None else time.monotonic() + remaining,
            )
        )
        call.context.set_trailing_metadata(((REQUEST_ID_HEADER, request_id),))
