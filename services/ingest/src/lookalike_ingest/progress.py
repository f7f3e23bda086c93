"""How fast a job is lately, and what holds it up: measured here, never kept."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from lookalike_ingest.job import Job
from lookalike_ingest.stopwatch import Stopwatch

_WINDOW_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How fast a job is."""

    items_per_second: float = 0.0
    eta: timedelta | None = None
    bottleneck: str = ""
    """The step that took most of the time lately; empty when not known."""


@dataclass(frozen=True, slots=True)
class _Batch:
    start: float
    end: float
    items: int
    stopwatch: Stopwatch


class ProgressMeter:
    """Watches the batches of the last half minute, by job."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._batches: defaultdict[str, deque[_Batch]] = defaultdict(deque)

    def add(self, job_id: str, items: int, started: float, stopwatch: Stopwatch) -> None:
        """Note a batch that began at `started`, by the meter's clock, and has just ended."""
        batches = self._batches[job_id]
        batches.append(_Batch(started, self._clock(), items, stopwatch))
        self._drop_old(batches)

    def measure(self, job: Job) -> Progress:
        """Return how fast a job is; nothing for one that is final or was not worked on here."""
        batches = self._batches.get(job.id)
        if not batches or job.state.final:
            return Progress()
        self._drop_old(batches)
        if not batches:
            return Progress()
        since = min(batch.start for batch in batches)
        rate = sum(batch.items for batch in batches) / max(self._clock() - since, 1e-3)
        return Progress(rate, _remaining(job, rate), _bottleneck(batches))

    def forget(self, job_id: str) -> None:
        """Drop what is known about a job."""
        self._batches.pop(job_id, None)

    def now(self) -> float:
        """Return the time, by the meter's clock."""
        return self._clock()

    def _drop_old(self, batches: deque[_Batch]) -> None:
        oldest = self._clock() - _WINDOW_SECONDS
        while batches and batches[0].end < oldest:
            batches.popleft()


def _remaining(job: Job, rate: float) -> timedelta | None:
    if job.counts.total is None or rate <= 0:
        return None
    return timedelta(seconds=(job.counts.total - job.counts.done) / rate)


def _bottleneck(batches: deque[_Batch]) -> str:
    together = Stopwatch()
    for batch in batches:
        together.add(batch.stopwatch)
    return max(together.seconds, key=lambda step: together.seconds[step], default="")
