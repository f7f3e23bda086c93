"""How fast a job is lately, and what holds it up.

Each process measures its own batches, and lets the job store have the figures every moment; any
replica adds up what all of them said lately.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from lookalike_ingest.batches.stopwatch import Stopwatch
from lookalike_ingest.job import Job

_WINDOW_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How fast a job is."""

    items_per_second: float = 0.0
    eta: timedelta | None = None
    bottleneck: str = ""
    """The step that took most of the time lately; empty when not known."""
    step_load: Mapping[str, float] = field(default_factory=dict)
    """How many threads each step kept busy on average."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one process does for a job, lately."""

    items_per_second: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)
    """How many threads each step kept busy on average."""


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

    def measure(self, job_id: str) -> Load | None:
        """Return what this process does for a job; None when that is nothing, lately."""
        batches = self._batches.get(job_id)
        if not batches:
            return None
        self._drop_old(batches)
        return self._sum(batches) if batches else None

    def measure_all(self) -> Load:
        """Return what this process does for all jobs together."""
        loads = [load for job_id in tuple(self._batches) if (load := self.measure(job_id))]
        return add_up(loads)

    def forget(self, job_id: str) -> None:
        """Drop what is known about a job."""
        self._batches.pop(job_id, None)

    def now(self) -> float:
        """Return the time, by the meter's clock."""
        return self._clock()

    def _sum(self, batches: deque[_Batch]) -> Load:
        since = min(batch.start for batch in batches)
        elapsed = max(self._clock() - since, 1e-3)
        together = Stopwatch()
        for batch in batches:
            together.add(batch.stopwatch)
        rate = sum(batch.items for batch in batches) / elapsed
        return Load(rate, {step: seconds / elapsed for step, seconds in together.seconds.items()})

    def _drop_old(self, batches: deque[_Batch]) -> None:
        oldest = self._clock() - _WINDOW_SECONDS
        while batches and batches[0].end < oldest:
            batches.popleft()


def add_up(loads: Iterable[Load]) -> Load:
    """Return the sum of what several processes do."""
    rate = 0.0
    steps: dict[str, float] = {}
    for load in loads:
        rate += load.items_per_second
        for step, busy in load.steps.items():
            steps[step] = steps.get(step, 0.0) + busy
    return Load(rate, steps)


def progress_of(job: Job, loads: Iterable[Load]) -> Progress:
    """Return how fast a job is by what all processes do for it; nothing for a final one."""
    if job.state.final:
        return Progress()
    load = add_up(loads)
    bottleneck = max(load.steps, key=lambda step: load.steps[step], default="")
    return Progress(
        load.items_per_second, _remaining(job, load.items_per_second), bottleneck, load.steps
    )


def _remaining(job: Job, rate: float) -> timedelta | None:
    if job.counts.total is None or rate <= 0:
        return None
    return timedelta(seconds=(job.counts.total - job.counts.done) / rate)
