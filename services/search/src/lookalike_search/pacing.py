"""How long a caller who writes batch after batch should wait before the next one."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

_FIRST: Final = timedelta(seconds=0.5)


class Pace:
    """One caller's pace: it doubles its pauses while batches fail, and gives a slow store rest."""

    def __init__(self, *, slow_after: timedelta, longest: timedelta) -> None:
        self._slow_after = slow_after
        self._longest = longest
        self._next = _FIRST

    def after_failure(self, advice: timedelta | None) -> timedelta:
        """Return the pause after a batch that failed; at least `advice`, if there is some."""
        pause = max(self._next, advice or timedelta(0))
        self._next = min(2 * self._next, self._longest)
        return min(pause, self._longest)

    def after_success(self, stored_in: timedelta) -> timedelta:
        """Return the pause after a batch that the store took so long for: usually none."""
        self._next = _FIRST
        if stored_in <= self._slow_after:
            return timedelta(0)
        return min(stored_in - self._slow_after, self._longest)
