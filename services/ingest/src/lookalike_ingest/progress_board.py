"""Where all processes write how fast they are, and any of them reads it."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from lookalike_ingest.batches.patience import TRANSIENT
from lookalike_ingest.job import Job
from lookalike_ingest.progress import Load, Progress, ProgressMeter, progress_of

_WRITE_INTERVAL = timedelta(seconds=1)
_MAX_AGE = timedelta(seconds=15)
"""A process that said nothing for so long does nothing."""


class LoadStore(Protocol):
    """What each process does for each job."""

    async def put_load(self, job_id: str, executor: str, load: Load) -> None:
        """Keep what a process does for a job, in place of what it said before."""

    async def list_loads(
        self, job_ids: Sequence[str], max_age: timedelta
    ) -> Mapping[str, Sequence[Load]]:
        """Return what all processes do for jobs, by the job."""

    async def count_backlog(self, shard_items: int) -> int:
        """Return how many tasks all unfinished jobs have left, each of so many items at most."""


class ProgressBoard:
    """Shows the progress of jobs."""

    def __init__(self, store: LoadStore, meter: ProgressMeter, executor: str) -> None:
        self._store = store
        self._meter = meter
        self._executor = executor
        self._written: dict[str, float] = {}

    async def note(self, job: Job) -> None:
        """Write what this process does for a job, every moment, as far as the store is there."""
        load = None if job.state.final else self._meter.measure(job.id)
        if load is None:
            self._written.pop(job.id, None)
            return
        now = self._meter.now()
        if now - self._written.get(job.id, -_MAX_AGE.total_seconds()) < (
            _WRITE_INTERVAL.total_seconds()
        ):
            return
        self._written[job.id] = now
        with contextlib.suppress(*TRANSIENT):
            await self._store.put_load(job.id, self._executor, load)

    async def show(self, jobs: Sequence[Job]) -> Sequence[Progress]:
        """Return the progress of jobs."""
        working = [job.id for job in jobs if not job.state.final]
        loads = await self._store.list_loads(working, _MAX_AGE) if working else {}
        return [progress_of(job, loads.get(job.id, ())) for job in jobs]
