"""Keeps the gauges true: what is left to do, by which workers are added, and what the steps do."""

import asyncio
import logging
from datetime import timedelta

from lookalike_common.errors import LookalikeError
from lookalike_ingest.metrics import JobMetrics
from lookalike_ingest.progress import ProgressMeter
from lookalike_ingest.progress_board import LoadStore

_LOG = logging.getLogger(__name__)
_INTERVAL = timedelta(seconds=2)


class Signals:
    """Runs in every replica: also one that does no work tells what there is."""

    def __init__(
        self, store: LoadStore, meter: ProgressMeter, metrics: JobMetrics, shard_items: int
    ) -> None:
        self._store = store
        self._meter = meter
        self._metrics = metrics
        self._shard_items = shard_items

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self.look()
            except LookalikeError as error:
                _LOG.warning("gauges stand still: %s", error.message)
            await asyncio.sleep(_INTERVAL.total_seconds())

    async def look(self) -> None:
        """Set the gauges once."""
        self._metrics.set_load(self._meter.measure_all().steps)
        self._metrics.set_backlog(await self._store.count_backlog(self._shard_items))
