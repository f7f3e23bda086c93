"""What surrounds work on a job: it stops when the job ends, and ends a job it cannot serve."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

from lookalike_common.context import RequestContext, use_context
from lookalike_common.errors import NotFoundError
from lookalike_ingest.batches.patience import TRANSIENT, Backoff, Patience
from lookalike_ingest.job import Job, JobState
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import JobStore, SupersededError
from lookalike_ingest.problem import Problem
from lookalike_ingest.progress import ProgressMeter
from lookalike_ingest.spool import Spool
from lookalike_ingest.steps.step import JobFailedError
from lookalike_ingest.tasks.engine import Task

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
_LOOK_INTERVAL = timedelta(seconds=1)


class JobScope:
    """Runs pieces of work on behalf of jobs."""

    def __init__(
        self,
        store: JobStore,
        feed: JobFeed,
        spool: Spool,
        meter: ProgressMeter,
        backoff: Backoff,
    ) -> None:
        self._store = store
        self._feed = feed
        self._spool = spool
        self._meter = meter
        self._backoff = backoff

    async def begin(self, task: Task) -> None:
        """Note that a task began; without the store to note it in, turns get less fair."""
        with contextlib.suppress(*TRANSIENT):
            await self._store.begin_turn(task.kind, task.turn)

    async def guard(self, task: Task, work: Callable[[Job], Awaitable[int]]) -> int:
        """Run `work` unless its job is final, paused, or in another round.

        What `work` cannot cope with fails the job.

        Returns what `work` returned, or 0 when there is nothing more to do. When the job store is
        away, the whole is tried again: it asks the store anew what is left.
        """
        failures = 0
        while True:
            try:
                return await self._guard_once(task, work)
            except TRANSIENT as error:
                failures += 1
                _LOG.warning("job %s waits: %s", task.job, error.message)
                await asyncio.sleep(self._backoff.delay(failures))

    async def settle(self, job: Job) -> None:
        """Let go of what only an unfinished job needs; what failed may be retried."""
        if job.state.final:
            self._meter.forget(job.id)
        if job.state is JobState.SUCCEEDED:
            await self._spool.delete(job.id)

    # Any: what a coroutine yields and receives is between it and the event loop.
    async def run_until(
        self, job_id: str, stop: Callable[[Job], bool], work: Coroutine[Any, Any, T]
    ) -> T | None:
        """Run `work` until it is done, or return None as soon as the job tells to stop."""
        working = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self._wait_for(job_id, stop))
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            ending.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)

    def patience(
        self,
        *,
        on_wait: Callable[[str], Awaitable[object]],
        on_resume: Callable[[], Awaitable[object]],
    ) -> Patience:
        """Return patience that calls back when it begins and ends to wait."""
        return Patience(self._backoff, on_wait=on_wait, on_resume=on_resume)

    @staticmethod
    def identity(job: Job, first: int = 0) -> AbstractContextManager[RequestContext]:
        """Let outgoing calls carry the job's tenant, and an id that leads back to the job."""
        context = RequestContext(request_id=f"{job.id}-{first}", tenant=job.tenant)
        return use_context(context)

    async def _guard_once(self, task: Task, work: Callable[[Job], Awaitable[int]]) -> int:
        try:
            job = await self._store.load(task.job)
            if job.works_in(task.round):
                return await work(job)
        except NotFoundError:
            return 0  # forgotten meanwhile
        except SupersededError as error:
            _LOG.warning("left to the worker that took over: %s", error)
            return 0  # which the engine will not hear from this process
        except JobFailedError as error:
            await self._fail(task.job, error.cause)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - a defect must end the job, not hide it
            await self._fail(task.job, error)
        return 0

    async def _fail(self, job_id: str, error: Exception) -> None:
        await self.settle(await self._store.end(job_id, JobState.FAILED, Problem.of(error)))

    async def _wait_for(self, job_id: str, stop: Callable[[Job], bool]) -> None:
        with self._feed.subscribe(job_id) as subscription:
            while not stop(await self._store.load(job_id)):
                await subscription.wait(_LOOK_INTERVAL)
