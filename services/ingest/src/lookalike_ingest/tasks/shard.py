"""The other tasks of a job: work through a stretch of its items, batch by batch.

What is left to do stands in the job store, so a task that runs again after a crash goes on behind
the last recorded outcome. An item that was begun too often without coming to one is given up:
nothing can loop for ever.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial

from lookalike_common.errors import EncoderMismatchError, InternalError, LookalikeError
from lookalike_ingest.batches.batch_report import BatchReport
from lookalike_ingest.batches.batching import BatchLimits
from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.batches.pipeline import Pipeline
from lookalike_ingest.entities import Collection, EntityStore
from lookalike_ingest.job import Item, ItemProblem, ItemResult, Job, JobState, Outcome
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.metrics import JobMetrics
from lookalike_ingest.problem import Problem
from lookalike_ingest.progress import ProgressMeter
from lookalike_ingest.progress_board import ProgressBoard
from lookalike_ingest.shared_lock import SharedLock
from lookalike_ingest.steps.step import JobFailedError
from lookalike_ingest.tasks.engine import Steps, Task
from lookalike_ingest.tasks.finish import Finish
from lookalike_ingest.tasks.job_scope import JobScope

SHARD = "shard"
_LOG = logging.getLogger(__name__)


class ShardWorker:
    """Handles `shard` tasks."""

    def __init__(
        self,
        scope: JobScope,
        store: JobStore,
        pipeline: Pipeline,
        entities: EntityStore,
        meter: ProgressMeter,
        *,
        finish: Finish,
        board: ProgressBoard,
        metrics: JobMetrics,
        limits: BatchLimits,
        max_attempts: int,
    ) -> None:
        self._scope = scope
        self._store = store
        self._pipeline = pipeline
        self._entities = entities
        self._finish = finish
        self._board = board
        self._meter = meter
        self._metrics = metrics
        self._limits = limits
        self._max_attempts = max_attempts
        self._process_lock = SharedLock()

    async def handle(self, task: Task, steps: Steps) -> None:
        """Run batches until no item of the stretch is left."""
        await self._scope.begin(task)
        batch = partial(self._scope.guard, task, partial(self._run_batch, task))
        while await steps.run("batch", batch):
            pass

    async def _run_batch(self, task: Task, job: Job) -> int:
        """Bring the next items to their outcomes; return how many, 0 when none are left.

        A suspect runs while nothing else does here: if it ends the process, that must not count as
        an attempt of others, which are no quicker than it is, and would be given up with it.
        """
        async with self._process_lock.shared():
            done = await self._run_next(task, job, alone=False)
        if done is not None:
            return done
        async with self._process_lock.exclusive():
            return await self._run_next(task, job, alone=True) or 0

    async def _run_next(self, task: Task, job: Job, *, alone: bool) -> int | None:
        """Run the next batch; None if that is a suspect, and it is not alone."""

        def stops(now: Job) -> bool:
            """A paused job's batch goes on to its end, unless the job is resumed meanwhile."""
            return now.state.final or now.round != task.round

        items = await self._claim(task)
        if not items:
            await self._finish.run(job)
            return 0
        attempt = _attempt(self._store, job.id, items)
        if not alone and items[0].attempts > self._limits.isolate_after:
            await attempt.release()
            return None
        started = self._meter.now()
        try:
            with self._scope.identity(job, items[0].ordinal):
                work = self._process(job, items, attempt)
                report = await self._scope.run_until(job.id, stops, work)
        except asyncio.CancelledError:
            await attempt.release()
            raise
        if report is None:
            await attempt.release()
            return 0
        self._meter.add(job.id, len(report.results), started, report.stopwatch)
        job = await self._store.record(
            job.id, report.results, removed=report.removed, stored_bytes=report.stored_bytes
        )
        self._metrics.add(report)
        await self._board.note(job)
        await self._scope.settle(job)
        return len(items)

    async def _claim(self, task: Task) -> Sequence[Item]:
        """Take the next items; a stop in the middle of that takes the counted try back."""
        claim = self._store.claim_batch(task.job, task.first, task.last, self._limits)
        claiming = asyncio.ensure_future(claim)
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with contextlib.suppress(LookalikeError):
                await _attempt(self._store, task.job, await claiming).release()
            raise

    async def _process(self, job: Job, items: Sequence[Item], attempt: "_Attempt") -> BatchReport:
        if items[0].attempts > self._max_attempts:
            await attempt.release()
            error = InternalError("the service stopped whenever it worked on this item")
            return _given_up(items, error)
        patience = self._scope.patience(on_wait=attempt.wait, on_resume=attempt.resume)
        try:
            return await self._run_pipeline(job, items, patience)
        except JobFailedError:
            raise
        except _PausedError:
            return BatchReport()
        except Exception as error:  # noqa: BLE001 - a defect met by one item must not stop the rest
            if len(items) == 1 and items[0].attempts > self._limits.isolate_after:
                return _given_up(items, error)
            _LOG.exception("a batch of %d items failed; it is tried again", len(items))
            return BatchReport()

    async def _run_pipeline(
        self, job: Job, items: Sequence[Item], patience: Patience
    ) -> BatchReport:
        """Run a batch; once more if the collection was bound anew in the middle of it."""
        collection = await self._collection(job, patience)
        try:
            return await self._pipeline.run(job, collection, items, patience)
        except JobFailedError as error:
            if not isinstance(error.cause, EncoderMismatchError):
                raise
            fresh = await self._collection(job, patience)
            if fresh == collection:
                raise
            return await self._pipeline.run(job, fresh, items, patience)

    async def _collection(self, job: Job, patience: Patience) -> Collection:
        get = partial(self._entities.get_collection, job.spec.collection)
        try:
            return await patience.call("search", get)
        except LookalikeError as error:
            raise JobFailedError(error) from error


class _PausedError(Exception):
    """A batch was waiting when its job was paused."""


class _Attempt:
    """One counted try of some items; it does not count while the job waits for others."""

    def __init__(self, store: JobStore, job_id: str, ordinals: Sequence[int]) -> None:
        self._store = store
        self._job_id = job_id
        self._ordinals = ordinals
        self._counted = True

    async def release(self) -> None:
        """Take the try back."""
        if self._counted:
            self._counted = False
            await self._store.change_attempts(self._job_id, self._ordinals, -1)

    async def wait(self, reason: str) -> None:
        """Show the job as waiting; one that is paused gives up its place instead."""
        await self.release()
        job = await self._store.set_waiting(self._job_id, reason)
        if job.state is JobState.PAUSED:
            raise _PausedError

    async def resume(self) -> None:
        """Show the job as working, and count the try again."""
        if not self._counted:
            self._counted = True
            await self._store.change_attempts(self._job_id, self._ordinals, 1)
        await self._store.set_running(self._job_id)


def _attempt(store: JobStore, job_id: str, items: Sequence[Item]) -> _Attempt:
    return _Attempt(store, job_id, [item.ordinal for item in items])


def _given_up(items: Sequence[Item], error: Exception) -> BatchReport:
    problem = ItemProblem("decode", Problem.of(error))
    return BatchReport(
        [ItemResult(each.ordinal, Outcome.FAILED, problem=problem) for each in items]
    )
