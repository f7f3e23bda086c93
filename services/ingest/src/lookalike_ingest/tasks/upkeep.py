"""What a replica sees to every moment, beside its tasks.

Looks at watched sources that are due, and the next items of jobs that have a pace.
"""

import asyncio
import logging
from datetime import timedelta

from lookalike_common.errors import LookalikeError
from lookalike_ingest.job import Job
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.tasks.engine import JobEngine, Task
from lookalike_ingest.tasks.expansion import EXPAND
from lookalike_ingest.tasks.shard import SHARD

_LOG = logging.getLogger(__name__)


class Upkeep:
    """Runs beside the tasks; any number of replicas may."""

    def __init__(
        self, store: JobStore, engine: JobEngine, shard_items: int, interval: timedelta
    ) -> None:
        self._store = store
        self._engine = engine
        self._shard_items = shard_items
        self._interval = interval

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self.round()
            except LookalikeError as error:
                _LOG.warning("upkeep failed, it is tried again: %s", error.message)
            await asyncio.sleep(self._interval.total_seconds())

    async def round(self) -> None:
        """Do once what is due."""
        for job in await self._store.list_looks():
            await self._look(job)
        for job in await self._store.list_paced():
            await self._release(job)

    async def _look(self, job: Job) -> None:
        job = await self._store.begin_look(job.id)
        if not job.listed and job.works_in(job.round):
            turns = await self._store.choose_turns(job.id, EXPAND)
            await self._engine.submit(Task(EXPAND, job.id, round=job.round, turn=turns.first))

    async def _release(self, job: Job) -> None:
        """Submit what is due by the job's pace."""
        while stretch := await self._store.begin_release(job.id, self._shard_items):
            turns = await self._store.choose_turns(job.id, SHARD)
            task = Task(SHARD, job.id, stretch.first, stretch.last, stretch.round, turns.first)
            await self._engine.submit(task)
            await self._store.end_release(job.id, stretch)
