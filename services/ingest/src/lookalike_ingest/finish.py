"""What is seen to between a job's last item and its end.

A crash on the way leaves the job complete but not final; the task that found it so runs again and
sees to all of it once more, which changes nothing that was done.
"""

from functools import partial

from lookalike_common.errors import LookalikeError
from lookalike_ingest.entities import EntityStore, Sweep
from lookalike_ingest.job import Job
from lookalike_ingest.job_scope import JobScope
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.patience import Patience
from lookalike_ingest.steps.step import JobFailedError

_REMOVED_AT_ONCE = 100


class Finish:
    """Finishes jobs."""

    def __init__(self, scope: JobScope, store: JobStore, entities: EntityStore) -> None:
        self._scope = scope
        self._store = store
        self._entities = entities

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
        synced = job.needs_finish and not job.unlisted
        if synced:
            try:
                await self._remove_vanished(job, patience)
            except LookalikeError as error:
                raise JobFailedError(error) from error
        return await self._store.complete(job.id, synced=synced)

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
