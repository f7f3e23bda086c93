"""Forgets what nobody asks for any more, and finds again what a dying replica left behind.

Many replicas share the chores that concern the job store: whoever finds one due does it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from lookalike_common.errors import LookalikeError
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.cascade import Cascade
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.spool import Spool
from lookalike_ingest.tasks.engine import JobEngine

_LOG = logging.getLogger(__name__)
_LOOK_EVERY = timedelta(seconds=30)
_TIDY_EVERY = timedelta(hours=1)


class Housekeeping:
    """Looks every so often for what is due."""

    def __init__(
        self,
        jobs: JobStore,
        engine: JobEngine,
        assets: AssetStore,
        spool: Spool,
        *,
        retention: timedelta,
        resubmit: Callable[[], Awaitable[None]],
        cascade: Cascade,
    ) -> None:
        self._jobs = jobs
        self._engine = engine
        self._assets = assets
        self._spool = spool
        self._retention = retention
        self._resubmit = resubmit
        self._cascade = cascade

    async def run(self) -> None:
        """Keep house until cancelled."""
        while True:
            try:
                await self.look()
            except LookalikeError as error:
                _LOG.warning("housekeeping failed, it is tried again later: %s", error.message)
            await asyncio.sleep(_LOOK_EVERY.total_seconds())

    async def look(self) -> None:
        """Do what is due."""
        if await self._jobs.claim_chore("resubmit", _LOOK_EVERY):
            await self._resubmit()
        if await self._jobs.claim_chore("cascade", _LOOK_EVERY):
            await self._cascade.go_on()
        if await self._jobs.claim_chore("tidy", _TIDY_EVERY):
            await self.tidy()

    async def tidy(self) -> None:
        """Forget jobs that ended long ago, and uploads that were left."""
        for job_id in await self._jobs.list_ended_before(datetime.now(UTC) - self._retention):
            await self._engine.forget(job_id)  # first: a task that is known is not run again
            await self._jobs.delete(job_id)
            await self._spool.delete(job_id)
        await self._assets.delete_expired()
