"""Fifth policy: refuses calls beyond what is served at once, before they cost anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from lookalike_common.errors import OverloadedError
from lookalike_common.policies._policy import Call, Policy

_RETRY_AFTER: Final = timedelta(seconds=0.5)


class LimitsPolicy(Policy):
    """Counts calls in flight; health and reflection always pass."""

    def __init__(self, max_concurrent_rpcs: int) -> None:
        self._max = max_concurrent_rpcs
        self._in_flight = 0

    def start(self, call: Call) -> None:
        """Take a slot, or refuse with a time to come back."""
        if call.method.is_infrastructure:
            return
        if self._in_flight >= self._max:
            raise OverloadedError(
                f"{self._max} calls are being served, which is the limit", retry_after=_RETRY_AFTER
            )
        self._in_flight += 1

    def finish(self, call: Call) -> None:
        """Give the slot back."""
        if not call.method.is_infrastructure:
            self._in_flight -= 1
