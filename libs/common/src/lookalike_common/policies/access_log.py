"""Third policy: one log line for each call that ended, without any of its content."""

from __future__ import annotations

import logging
import time

from lookalike_common.errors import Code
from lookalike_common.policies._policy import Call, Policy

_logger = logging.getLogger("lookalike.access")

_DEFECTS = frozenset({Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})
_TROUBLE = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})


class AccessLogPolicy(Policy):
    """Successes at DEBUG, the caller's faults at INFO, trouble at WARNING, defects at ERROR."""

    def finish(self, call: Call) -> None:
        """Write the line; for a defect with its traceback."""
        level = _level(call)
        if not _logger.isEnabledFor(level):
            return
        defect = call.code in _DEFECTS
        _logger.log(
            level,
            "%s %s",
            call.method.path,
            call.code.name,
            exc_info=call.error if defect else None,
            extra={
                "method": call.method.path,
                "code": call.code.name,
                "seconds": round(time.perf_counter() - call.started, 6),
                "error": None if call.error is None or defect else str(call.error),
            },
        )


def _level(call: Call) -> int:
    code = call.code
    if code in _DEFECTS:
        return logging.ERROR
    if code is Code.OK or call.method.is_infrastructure:
        return logging.DEBUG
    return logging.WARNING if code in _TROUBLE else logging.INFO
