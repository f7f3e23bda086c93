"""Forgets what nobody asks for any more: jobs that ended long ago, uploads that were left."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from lookalike_common.errors import LookalikeError
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.engine import JobEngine
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.spool import Spool

_LOG = logging.getLogger(__name__)
_INTERVAL = timedelta(hours=1)


class Housekeeping:
    """Tidies up at start and every hour."""

    def __init__(
        self,
        jobs: JobStore,
        engine: JobEngine,
        assets: AssetStore,
        spool: Spool,
        retention: timedelta,
    ) -> None:
        self._jobs = jobs
        self._engine = engine
        self._assets = assets
        self._spool = spool
        self._retention = retention

    async def run(self) -> None:
        """Tidy up until cancelled."""
        while True:
            try:
                await self.tidy()
            except LookalikeError as error:
                _LOG.warning("tidying up failed, it is tried again later: %s", error.message)
            await asyncio.sleep(_INTERVAL.total_seconds())

    async def tidy(self) -> None:
        """Tidy up once."""
        for job_id in await self._jobs.list_ended_before(datetime.now(UTC) - self._retention):
            await self._engine.forget(job_id)  # first: a task that is known is not run again
            await self._jobs.delete(job_id)
            await self._spool.delete(job_id)
        await self._assets.delete_expired()
