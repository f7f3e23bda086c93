"""Several replicas of the ingest service on one PostgreSQL, as processes of their own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psycopg

from lookalike_common.channels import open_channel
from lookalike_common.testing import assert_eventually, free_port, loopback
from tests.support.ingest_peers import Peers, running_encoder, running_search
from tests.support.ingest_process import Caller, Victim


class Replicas:
    """Replicas by name, between peers of the calling process."""

    def __init__(self, stack: AsyncExitStack, shared: dict[str, str], folder: Path) -> None:
        self._stack = stack
        self._shared = shared
        self._folder = folder
        self._started: dict[str, Victim] = {}

    def __getitem__(self, name: str) -> Victim:
        return self._started[name]

    @property
    def database_url(self) -> str:
        """Where they keep jobs."""
        return self._shared["LOOKALIKE_INGEST__DATABASE_URL"]

    async def start(self, name: str, role: str) -> Victim:
        """Start a replica, and end it with the test."""
        port = free_port()
        own = {
            "LOOKALIKE_INGEST__SERVER__PORT": str(port),
            "LOOKALIKE_INGEST__ROLE": role,
            "LOOKALIKE_INGEST__JOBS__EXECUTOR": name,
            "LOOKALIKE_INGEST__DATA_DIR": str(self._folder / name),
        }
        victim = self._started[name] = Victim(self._shared | own, port)
        await victim.start()
        self._stack.push_async_callback(victim.kill)
        return victim

    async def call(self, name: str) -> Caller:
        """Return a client of one replica."""
        channel = await self._stack.enter_async_context(open_channel(loopback(self[name].port)))
        return Caller(channel)

    async def busy(self) -> str:
        """Return the name of a replica that is working on tasks, as soon as there is one."""
        found: list[str] = []

        async def works() -> bool:
            found[:] = await self.claims()
            return bool(found)

        await assert_eventually(works, 30)
        return found[0]

    async def claims(self) -> list[str]:
        """Return the names of replicas with tasks that are begun and not finished."""
        query = "SELECT DISTINCT executor_id FROM dbos.workflow_status WHERE status = 'PENDING'"
        return [name.partition(":")[0] for (name,) in await self.query(query)]

    async def query(self, statement: str) -> list[tuple[str, ...]]:
        """Ask their database."""
        async with await psycopg.AsyncConnection.connect(self.database_url) as connection:
            cursor = await connection.execute(statement.encode())
            return await cursor.fetchall()


@asynccontextmanager
async def replicas(
    peers: Peers, root: Path, folder: Path, database_url: str
) -> AsyncIterator[Replicas]:
    """Give what starts replicas; all of them end with the block."""
    async with (
        running_encoder(peers) as encoder,
        running_search(peers) as search,
        AsyncExitStack() as stack,
    ):
        shared = {
            "LOOKALIKE_INGEST__DATABASE_URL": database_url,
            "LOOKALIKE_INGEST__SERVER__METRICS_PORT": "0",
            "LOOKALIKE_INGEST__SERVER__DRAIN_DELAY": "0",
            "LOOKALIKE_INGEST__ROOTS": json.dumps([str(root)]),
            "LOOKALIKE_INGEST__ENCODER__ADDRESS": f"127.0.0.1:{encoder.port}",
            "LOOKALIKE_INGEST__SEARCH__ADDRESS": f"127.0.0.1:{search.port}",
            "LOOKALIKE_INGEST__JOBS__BATCH_ITEMS": "16",
            "LOOKALIKE_INGEST__TELEMETRY__LOG_LEVEL": "WARNING",
            "LOOKALIKE_INGEST__TELEMETRY__LOG_FORMAT": "text",
        }
        yield Replicas(stack, shared, folder)
