"""Whether callers who were just answered together are about to come back.

Callers that send their next search when the last one is answered fall into two cohorts: one is
being answered while the other waits, so that every request carries half of them. Where a request
costs much the same whatever it carries, that is half of the speed. So what waits gives those who
were just answered a moment to join, if they are known to come back at once. Nobody waits for
callers that were not seen to do so, nor for longer than a share of what a request takes; and a
lone caller never waits: when it is back, everybody is.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 0.4
"""How long to wait, as a share of what a request takes."""
LONGEST: Final = 0.05
"""How long to wait at most, in seconds."""
_ENOUGH: Final = 0.7
"""The share of callers that must have come back within the window, of late, to be waited for."""
_SMOOTHING: Final = 0.3


class Returns:
    """What is known about callers that ask alike and are answered together. Times in seconds."""

    def __init__(self) -> None:
        self._answered = self._returned = 0
        self._answered_at = 0.0
        self._share = 0.0
        self._request = 0.0
        self._given_up = False

    @property
    def window(self) -> float:
        """How long those who were answered may take to be back."""
        return min(WINDOW * self._request, LONGEST)

    @property
    def expects_several(self) -> bool:
        """Whether several callers were answered together."""
        return self._answered > 1

    def note_answers(self, count: int, *, started: float, now: float) -> None:
        """Learn that a request which began at `started` answered so many callers."""
        if self._answered:
            share = min(1.0, self._returned / self._answered)
            self._share += _SMOOTHING * (share - self._share)
        known = self._request or now - started
        self._request = known + _SMOOTHING * (now - started - known)
        self._answered, self._returned, self._answered_at = count, 0, now
        self._given_up = False

    def note_arrival(self, now: float) -> None:
        """Learn that a search has arrived."""
        if self._answered and now - self._answered_at <= self.window:
            self._returned += 1

    def give_up(self) -> None:
        """Wait for none of those who were answered last."""
        self._given_up = True

    def patience(self, now: float) -> float:
        """Return for how long to wait for more; 0 when all are back or not to be waited for."""
        missing = self._returned < round(self._share * self._answered)
        if self._given_up or self._share < _ENOUGH or not missing:
            return 0.0
        return max(0.0, self._answered_at + self.window - now)
