"""Databases that the engine knows already: making its tables takes it long."""

from __future__ import annotations

import asyncio

from lookalike_ingest.adapters.dbos_engine import DbosEngine
from lookalike_ingest.settings import JobSettings
from lookalike_ingest.tasks.engine import Steps, Task, Work
from lookalike_ingest.tasks.expansion import EXPAND
from lookalike_ingest.tasks.shard import SHARD
from tests.support.postgres_server import PostgresServer


def prepare_engine(url: str) -> None:
    """Let the engine start once on a database, and stop."""

    async def nothing(_task: Task, _steps: Steps) -> None:
        pass

    async def start_and_stop() -> None:
        engine = DbosEngine(url, polling_interval=JobSettings().polling_interval)
        await engine.start({kind: Work(nothing, 2) for kind in (EXPAND, SHARD)})
        await engine.stop()

    asyncio.run(start_and_stop())


class PreparedPostgres:
    """Gives as many prepared databases of one server as are asked for."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        template = server.create_database()
        prepare_engine(template)
        self._template = template.rpartition("/")[2]

    def create_database(self) -> str:
        """Return the URL of a fresh one."""
        return self.server.create_database(self._template)
