"""Seventh policy: requests keep the rules in the protos before a handler sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from google.protobuf.message import Message

from lookalike_common.policies._policy import Call, Policy
from lookalike_common.validation import RequestValidator


class ValidationPolicy(Policy):
    """Validates each request message; large ones in a thread, to keep the event loop free."""

    def __init__(self, validator: RequestValidator, off_loop_bytes: int) -> None:
        self._validator = validator
        self._off_loop_bytes = off_loop_bytes

    def message(self, call: Call, message: Message, size: int) -> Awaitable[None] | None:
        """Check one message against its rules."""
        if call.method.is_infrastructure:
            return None
        if size > self._off_loop_bytes:
            return asyncio.to_thread(self._validator.check, message)
        self._validator.check(message)
        return None
