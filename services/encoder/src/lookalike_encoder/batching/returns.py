"""Whether callers who just got their answers are about to come back.

Callers that send their next request when the last one is answered fall into two cohorts: one is
being run while the other waits, so that every run has half of them. A run of all costs less than
two of half, so what waits gives those who were just answered a moment to join, if they are known
to come back at once. Nobody waits for callers that were not seen to do so, nor for longer than a
share of what a run takes, and a lone caller never waits: when it is back, everybody is.
"""

from __future__ import annotations

from lookalike_encoder.content import Priority

WINDOW = 0.4
"""How long to wait, as a share of what an epoch takes."""
LONGEST = 0.01
"""How long to wait at most, in seconds."""
ENOUGH = 0.7
"""The share of callers that must have come back within the window, of late, to be waited for."""
_SMOOTHING = 0.2


class Returns:
    """What is known about callers of one encoder that were answered together."""

    def __init__(self) -> None:
        self._priority: Priority | None = None
        self._answered = self._returned = 0
        self._answered_at = 0.0
        self._share = 0.0
        self._epoch_seconds = 0.0

    def note_answers(self, priority: Priority, count: int, *, started: float, now: float) -> None:
        """Learn that an epoch which began at `started` answered so many callers."""
        if self._answered:
            share = min(1.0, self._returned / self._answered)
            self._share += _SMOOTHING * (share - self._share)
        known = self._epoch_seconds or now - started
        self._epoch_seconds = known + _SMOOTHING * (now - started - known)
        self._priority, self._answered, self._answered_at = priority, count, now
        self._returned = 0

    def note_arrival(self, priority: Priority, now: float) -> None:
        """Learn that a request has arrived."""
        if priority is self._priority and now - self._answered_at <= self._window():
            self._returned += 1

    def are_complete(self) -> bool:
        """Whether nobody is left to be waited for."""
        return self._share < ENOUGH or self._returned >= round(self._share * self._answered)

    def patience(self, priority: Priority, now: float) -> float:
        """Return for how many seconds to wait for more requests of a line; 0 not to wait."""
        if priority is not self._priority or self.are_complete():
            return 0.0
        return max(0.0, self._answered_at + self._window() - now)

    def _window(self) -> float:
        return min(WINDOW * self._epoch_seconds, LONGEST)
