"""Who is alive among the replicas on one PostgreSQL: each holds an advisory lock of its session.

The database lets go of the lock when the session ends, however its owner ended; so nobody has to
renew anything, and clocks do not matter. It needs a session of its own: a pool in front of the
database that lends one session to several clients breaks it.
"""

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from typing import LiteralString

import psycopg

from lookalike_common.errors import BackendUnavailableError
from lookalike_ingest.adapters.sql_engine import session_conninfo

_NAMESPACE = "lookalike-ingest/executor/"
_ANSWER_SECONDS = 5
_HELD = """
SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class PostgresPresence:
    """A `Presence`; one executor's session and lock."""

    def __init__(self, database_url: str, executor: str) -> None:
        self._database_url = database_url
        self._executor = executor
        self._session: psycopg.AsyncConnection | None = None
        self._changing = asyncio.Lock()

    async def hold(self) -> None:
        """Hold this executor's lock from now on. Raises BackendUnavailableError."""
        async with self._changing:
            if self._session is None:
                self._session = await self._open_session()
            else:
                await self._query(self._session, "SELECT 1")

    async def find_gone(self, executors: Collection[str]) -> Collection[str]:
        """Return those of some executors that hold no lock. Raises BackendUnavailableError."""
        session = self._session
        if session is None:
            raise BackendUnavailableError("there is no session to look with")
        held = {key % 2**64 for (key,) in await self._query(session, _HELD)}
        return {each for each in executors if _key(each) % 2**64 not in held}

    async def release(self) -> None:
        """Let go of the lock."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open_session(self) -> psycopg.AsyncConnection:
        try:
            session = await psycopg.AsyncConnection.connect(
                session_conninfo(self._database_url), autocommit=True
            )
        except psycopg.Error as error:
            raise BackendUnavailableError("the job store cannot be reached") from error
        took = await self._query(session, "SELECT pg_try_advisory_lock(%s)", [_key(self._executor)])
        if took != [(True,)]:  # our last session ended, but the database does not know yet
            await session.close()
            raise BackendUnavailableError("the lock of the last session is still held")
        return session

    async def _query(
        self, session: psycopg.AsyncConnection, query: LiteralString, values: Sequence[int] = ()
    ) -> list[tuple[int, ...]]:
        """Return a query's rows; a session that does not answer soon is given up."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                cursor = await session.execute(query, values)
                return await cursor.fetchall()
        except (psycopg.Error, TimeoutError) as error:
            if session is self._session:
                self._session = None
            await session.close()
            raise BackendUnavailableError("the job store cannot be reached") from error


def _key(executor: str) -> int:
    """Return the number of an executor's lock, a signed one of 64 bits."""
    digest = hashlib.sha256((_NAMESPACE + executor).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
