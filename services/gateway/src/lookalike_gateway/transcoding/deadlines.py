"""The header `grpc-timeout`, as gRPC has it: digits and one of `H M S m u n`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from lookalike_common.errors import InvalidArgumentError

TIMEOUT_HEADER: Final = "grpc-timeout"

_FORM: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def parse_timeout(text: str) -> timedelta:
    """Return how long the caller will wait; InvalidArgumentError when it is not told so."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidArgumentError(
            f"{TIMEOUT_HEADER} must be digits and a unit, such as 500m or 10S", field=TIMEOUT_HEADER
        )
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
