"""The database behind the job store: its engine, its transactions, and the threads they run in.

SQLite has one writer. One thread writes, so that writers queue here instead of meeting locked
files, and a few threads read beside it (WAL). PostgreSQL has many: there, rows are locked instead.
No call blocks the event loop.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from lookalike_common.errors import LookalikeError
from lookalike_ingest.adapters.sql_engine import is_postgres, make_engine
from lookalike_ingest.adapters.sql_errors import collided, translate

T = TypeVar("T")
_READERS = 2
_WRITERS = 4
_CONNECTIONS = 8
"""To PostgreSQL: for writers, readers, and two for threads that read for themselves."""
_ANSWER_SECONDS = 5
_TRIES = 5
_LONGEST_PAUSE_SECONDS = 0.05
_SCHEMA_LOCK = 7_364_201_001
"""Any number that no other application on the database uses for an advisory lock."""


class SqlDatabase:
    """An engine with threads that write and threads that read."""

    def __init__(self, url: str, metadata: sa.MetaData) -> None:
        self._engine = make_engine(url, _CONNECTIONS)
        self._metadata = metadata
        self._shared = is_postgres(url)
        self._writer = ThreadPoolExecutor(_WRITERS if self._shared else 1, "job-store-writer")
        self._readers = ThreadPoolExecutor(_READERS, "job-store-reader")

    async def open(self) -> None:
        """Create the tables that are missing."""
        await self.write(self._create_tables)

    async def write(self, change: Callable[[sa.Connection], T]) -> T:
        """Run `change` in one transaction, again if it collided with another one.

        Raises StorageFullError, or BackendUnavailableError: then it may have been made or not.
        """

        def in_transaction() -> T:
            with self._engine.begin() as connection:
                return change(connection)

        return await self._run(self._writer, in_transaction)

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Run `query` on a connection of its own. Raises BackendUnavailableError."""
        return await self._run(self._readers, lambda: self._read(query))

    def read_blocking(self, query: Callable[[sa.Connection], T]) -> T:
        """Do the same in the calling thread."""
        return _attempt(lambda: self._read(query))

    async def is_reachable(self) -> bool:
        """Tell whether the database answers soon."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self.read(lambda connection: connection.execute(sa.select(1)))
        except (LookalikeError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Wait for what runs, then let go of the database."""
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._engine.dispose()

    def _read(self, query: Callable[[sa.Connection], T]) -> T:
        with self._engine.connect() as connection:
            return query(connection.execution_options(isolation_level="AUTOCOMMIT"))

    def _create_tables(self, connection: sa.Connection) -> None:
        if self._shared:  # another replica may be creating them
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        self._metadata.create_all(connection)

    @staticmethod
    async def _run(executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, lambda: _attempt(call))


def _attempt(call: Callable[[], T]) -> T:
    """Run a transaction until it collides with no other; translate what else goes wrong."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return call()
        except sa.exc.SQLAlchemyError as error:
            if tries_left and collided(error):
                time.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311 - guards nothing
                continue
            if (translated := translate(error)) is not None:
                raise translated from error
            raise
    raise AssertionError("unreachable: the last try returns or raises")
