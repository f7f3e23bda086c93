"""Waiting for a condition: the one alternative to sleeping in tests."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

Condition = Callable[[], object] | Callable[[], Awaitable[object]]


async def assert_eventually(
    condition: Condition,
    timeout: timedelta | float = 10.0,  # noqa: ASYNC109 - a failing assertion, no cancellation
    *,
    interval: timedelta | float = 0.01,
) -> None:
    """Return as soon as `condition()` is true; fail when it is not within `timeout` (seconds).

    The condition may be a coroutine function; an AssertionError in it counts as false, and the
    last one is shown when time is up.
    """
    limit = _seconds(timeout)
    end = time.monotonic() + limit
    last: AssertionError | None = None
    while True:
        try:
            if await _evaluate(condition):
                return
        except AssertionError as error:
            last = error
        if time.monotonic() >= end:
            raise AssertionError(f"not true within {limit:g} s: {condition!r}") from last
        await asyncio.sleep(_seconds(interval))


async def _evaluate(condition: Condition) -> bool:
    outcome = condition()
    return bool(await outcome if inspect.isawaitable(outcome) else outcome)


def _seconds(duration: timedelta | float) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
