"""What is seen to between a job's last item and its end.

A crash on the way leaves the job complete but not final; the task that found it so runs again and
sees to all of it once more, which changes nothing that was done.
"""

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import Protocol

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.entities import EntityStore, Sweep
from lookalike_ingest.job import Job
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.steps.step import JobFailedError
from lookalike_ingest.tasks.job_scope import JobScope

_LOG = logging.getLogger(__name__)
_REMOVED_AT_ONCE = 100
_VISIBLE_INTERVAL = timedelta(seconds=0.1)


class Searches(Protocol):
    """Whether what was written is found."""

    async def is_visible(self, collection: str, item: str, generation: int) -> bool:
        """Tell whether a search that may be a little behind finds an item in a generation."""


class Finish:
    """Finishes jobs."""

    def __init__(
        self,
        scope: JobScope,
        store: JobStore,
        entities: EntityStore,
        searches: Searches,
        *,
        visible_timeout: timedelta,
        optimize_after: int,
    ) -> None:
        self._scope = scope
        self._store = store
        self._entities = entities
        self._searches = searches
        self._visible_timeout = visible_timeout
        self._optimize_after = optimize_after

    async def run(self, job: Job) -> None:
        """Finish a job of which all items are done; nothing happens to any other one.

        Raises JobFailedError, such as when the collection is gone.
        """
        if job.complete and not job.state.final:
            with self._scope.identity(job):
                ended = await self._scope.run_until(job.id, _has_ended, self._finish(job))
            if ended is not None:
                await self._scope.settle(ended)

    async def _finish(self, job: Job) -> Job:
        patience = self._scope.patience(
            on_wait=partial(self._store.set_waiting, job.id),
            on_resume=partial(self._store.set_running, job.id),
        )
        options = job.spec.options
        synced = options.sync and not options.dry_run and not job.unlisted
        if synced:
            try:
                await self._remove_vanished(job, patience)
            except LookalikeError as error:
                raise JobFailedError(error) from error
        if job.written >= self._optimize_after:
            await self._optimize(job)
        await self._wait_until_visible(job)
        return await self._store.complete(job.id, synced=synced)

    async def _wait_until_visible(self, job: Job) -> None:
        """Wait until the last item that was written is found, for a while at most.

        What was written before it is found then, too. A search that fails is no reason to fail.
        """
        item = await self._store.last_written(job.id)
        if item is None:
            return
        look = partial(self._searches.is_visible, job.spec.collection, item, job.generation)
        try:
            async with asyncio.timeout(self._visible_timeout.total_seconds()):
                while True:
                    if await look():
                        return
                    await asyncio.sleep(_VISIBLE_INTERVAL.total_seconds())
        except (LookalikeError, TimeoutError) as error:
            _LOG.info("job %s ends without having been seen by a search: %s", job.id, error)

    async def _optimize(self, job: Job) -> None:
        """Put the storage in order after many writes; it does so by itself, but later."""
        try:
            await self._entities.optimize(job.spec.collection)
        except LookalikeError as error:
            _LOG.warning("%s could not be optimized: %s", job.spec.collection, error.message)

    async def _remove_vanished(self, job: Job, patience: Patience) -> None:
        """Remove the entities of items that are gone, but not what a newer job wrote of them."""
        after = (0, -1)
        while True:
            gone = await self._store.list_vanished(job.id, after=after, limit=_REMOVED_AT_ONCE)
            if not gone:
                break
            sweeps = [Sweep(each.key, job.generation, ()) for each in gone]
            sweep = partial(self._entities.sweep, job.spec.collection, sweeps)
            removed = await patience.call("search", sweep)
            await self._store.record(job.id, (), removed=removed)
            after = (gone[-1].generation, gone[-1].ordinal)
        await self._store.forget_vanished(job.id)


def _has_ended(job: Job) -> bool:
    return job.state.final
