"""What a replica sees to every moment, beside its tasks: looks at watched sources that are due."""

import asyncio
import logging
from datetime import timedelta

from lookalike_common.errors import LookalikeError
from lookalike_ingest.engine import JobEngine, Task
from lookalike_ingest.expansion import EXPAND
from lookalike_ingest.job_store import JobStore

_LOG = logging.getLogger(__name__)


class Upkeep:
    """Runs beside the tasks; any number of replicas may."""

    def __init__(self, store: JobStore, engine: JobEngine, interval: timedelta) -> None:
        self._store = store
        self._engine = engine
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
        for each in await self._store.list_looks():
            job = await self._store.begin_look(each.id)
            if not job.listed and job.works_in(job.round):
                await self._engine.submit(Task(EXPAND, job.id, round=job.round))
