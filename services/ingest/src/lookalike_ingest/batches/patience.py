"""Waiting for what is away or full, instead of failing for it.

A job that waits says so and goes on by itself; nothing is counted as an attempt meanwhile.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from lookalike_common.errors import (
    BackendUnavailableError,
    CallCancelledError,
    CollectionNotReadyError,
    ConcurrentChangeError,
    DeadlineExceededError,
    EncoderNotReadyError,
    LookalikeError,
    OverloadedError,
    QuotaExceededError,
    StorageFullError,
)

T = TypeVar("T")

LOST = (BackendUnavailableError, DeadlineExceededError, CallCancelledError)
"""The other side went away, or did not answer: perhaps because of what it was given."""

TRANSIENT = (
    *LOST,
    CollectionNotReadyError,
    ConcurrentChangeError,
    EncoderNotReadyError,
    OverloadedError,
    QuotaExceededError,
    StorageFullError,
)
"""What passes by itself, or after somebody acted elsewhere."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries: doubled each time, give or take a quarter."""

    first: timedelta = timedelta(seconds=0.1)
    longest: timedelta = timedelta(seconds=5)

    def delay(self, failures: int) -> float:
        """Return seconds to wait after so many failures in a row."""
        doubled = self.first.total_seconds() * 2.0 ** min(failures - 1, 30)
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 - it spreads load, it guards nothing
        return min(doubled, self.longest.total_seconds()) * jitter


class Patience:
    """Waits on behalf of one batch, and says so from the second failure in a row."""

    def __init__(
        self,
        backoff: Backoff,
        *,
        on_wait: Callable[[str], Awaitable[object]],
        on_resume: Callable[[], Awaitable[object]],
    ) -> None:
        self._backoff = backoff
        self._on_wait = on_wait
        self._on_resume = on_resume
        self._failures = 0

    async def call(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works. Raises at once what does not pass by itself."""
        while True:
            try:
                result = await attempt()
            except TRANSIENT as error:
                await self.pause(what, error)
            else:
                await self.resume()
                return result

    async def pause(self, what: str, error: LookalikeError) -> None:
        """Wait after a failure, longer after each further one."""
        self._failures += 1
        if self._failures > 1:
            await self._on_wait(f"{what}: {error.message}")
        asked = error.retry_after.total_seconds() if error.retry_after else 0.0
        await asyncio.sleep(max(asked, self._backoff.delay(self._failures)))

    async def resume(self) -> None:
        """Say that it works again."""
        waited = self._failures > 1
        self._failures = 0
        if waited:
            await self._on_resume()
