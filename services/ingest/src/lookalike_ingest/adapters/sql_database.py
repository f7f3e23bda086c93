"""The database behind the job store: its engine, its transactions, and the threads they run in.

SQLite has one writer. One thread writes, so that writers queue here instead of meeting locked
files, and a few threads read beside it (WAL). No call blocks the event loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from lookalike_common.errors import BackendUnavailableError, StorageFullError

T = TypeVar("T")
_READERS = 2
_BUSY_TIMEOUT_MS = 30_000


class SqlDatabase:
    """An engine with one writing thread and a few reading ones."""

    def __init__(self, url: str, metadata: sa.MetaData) -> None:
        self._engine = sa.create_engine(url)
        self._metadata = metadata
        self._writer = ThreadPoolExecutor(1, "job-store-writer")
        self._readers = ThreadPoolExecutor(_READERS, "job-store-reader")
        if self._engine.dialect.name == "sqlite":
            _prepare_sqlite(self._engine)

    async def open(self) -> None:
        """Create the tables that are missing."""
        await self._run(self._writer, lambda: self._metadata.create_all(self._engine))

    async def write(self, change: Callable[[sa.Connection], T]) -> T:
        """Run `change` in one transaction; no other write of this process is under way."""

        def in_transaction() -> T:
            with self._engine.begin() as connection:
                return change(connection)

        return await self._run(self._writer, in_transaction)

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Run `query` on a connection of its own."""

        def on_connection() -> T:
            with self._engine.connect() as connection:
                return query(connection.execution_options(isolation_level="AUTOCOMMIT"))

        return await self._run(self._readers, on_connection)

    async def close(self) -> None:
        """Wait for what runs, then let go of the database."""
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._engine.dispose()

    @staticmethod
    async def _run(executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, call)
        except sa.exc.OperationalError as error:
            if "full" in str(error.orig):
                raise StorageFullError("the job store's disk is full") from error
            raise BackendUnavailableError("the job store cannot be reached") from error


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let transactions begin as writers: pysqlite would begin them at the first change only."""

    @sa.event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin_immediately(connection: sa.Connection) -> None:
        if connection.get_isolation_level() != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
