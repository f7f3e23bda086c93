"""What waits for an encoder: two lines, bounded together in items and in bytes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from lookalike_encoder.batching.planner import Epoch, plan_epoch
from lookalike_encoder.batching.work import Entry, Submission
from lookalike_encoder.content import Priority
from lookalike_encoder.manifest import Budget


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may be in an encoder's hands at once, waiting or running, and for how long."""

    items: int = 4096
    bytes: int = 256 << 20
    delay: timedelta = timedelta(0)
    """How long a request that fills no run waits for others to join it."""
    time: timedelta = timedelta(0)
    """How long a request waits at most before it is refused; 0: as long as its caller does."""


class Backlog:
    """Entries in order of arrival, interactive and bulk apart."""

    def __init__(self, capacity: Capacity, budget: Budget) -> None:
        self._capacity = capacity
        self._budget = budget
        self._lines: dict[Priority, deque[Entry]] = {each: deque() for each in Priority}
        self._bulk_waited = 0
        self._abandoned = 0
        self.items = 0
        """Items admitted and not yet released."""
        self.bytes = 0
        """Their bytes."""

    def has_room(self, items: int, size: int) -> bool:
        """Whether a request fits. Into an empty house any request does."""
        return not self.items or (
            self.items + items <= self._capacity.items and self.bytes + size <= self._capacity.bytes
        )

    def admit(self, entries: Iterable[Entry], submission: Submission) -> None:
        """Put a request's entries at the end of their line."""
        self._lines[submission.priority].extend(entries)
        self.items += len(submission.items)
        self.bytes += submission.size

    def release(self, submission: Submission) -> None:
        """Give back the room of a request that is answered or abandoned."""
        self.items -= len(submission.items)
        self.bytes -= submission.size

    def abandon(self, submission: Submission) -> None:
        """Forget a request whose caller left, now or a little later; the rest of its work is 0."""
        self._abandoned += len(submission.items)
        # Entries cost a scan to remove, so wait until most of what stands in line is left behind.
        if 2 * self._abandoned > sum(map(len, self._lines.values())):
            for priority, line in self._lines.items():
                self._lines[priority] = deque(each for each in line if not each.is_finished)
            self._abandoned = 0

    def drop_finished(self, finish: Callable[[Entry], object]) -> None:
        """Take entries out from the front of each line as long as `finish` finishes them."""
        for line in self._lines.values():
            while line and (line[0].is_finished or finish(line[0])):
                line.popleft()

    def is_empty(self) -> bool:
        """Whether nothing stands in line."""
        return not any(self._lines.values())

    def someone_waits(self) -> bool:
        """Whether an interactive caller waits. Read by the worker between runs."""
        return bool(self._lines[Priority.INTERACTIVE])

    def take(self) -> list[Entry]:
        """Take the next epoch out of its line, without what was abandoned meanwhile."""
        while epoch := self._plan():
            line = self._lines[epoch.priority]
            taken = [line.popleft() for _ in range(epoch.count)]
            if entries := [entry for entry in taken if not entry.is_finished]:
                passed_by = epoch.priority is Priority.INTERACTIVE and self._lines[Priority.BULK]
                self._bulk_waited = self._bulk_waited + 1 if passed_by else 0
                return entries
        return []

    def peek(self) -> list[Entry]:
        """Return what `take` would take now."""
        epoch = self._plan()
        return list(itertools.islice(self._lines[epoch.priority], epoch.count)) if epoch else []

    def _plan(self) -> Epoch | None:
        return plan_epoch(
            (entry.remaining_work for entry in self._lines[Priority.INTERACTIVE]),
            (entry.remaining_work for entry in self._lines[Priority.BULK]),
            self._budget,
            bulk_waited=self._bulk_waited,
        )

    def put_back(self, entries: list[Entry]) -> None:
        """Return entries of an epoch that gave way to the front of their line."""
        for entry in reversed(entries):
            self._lines[entry.submission.priority].appendleft(entry)

    def clear(self) -> list[Entry]:
        """Empty both lines and return what was in them."""
        entries = [entry for line in self._lines.values() for entry in line]
        for line in self._lines.values():
            line.clear()
        return entries
