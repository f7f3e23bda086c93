"""The spool in the job store's database, for replicas that share no folder."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from lookalike_common.errors import SourceChangedError
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_rows import to_micros
from lookalike_ingest.adapters.sql_tables import SPOOL
from lookalike_ingest.places import SpoolPlace

_SETTLED_MICROS = int(timedelta(hours=1).total_seconds() * 1_000_000)
"""Younger pieces may belong to a job that another replica is just about to create."""


class SqlSpool:
    """A `Spool` of one row a piece."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def write(self, job_id: str, pieces: Sequence[bytes]) -> None:
        """Keep the pieces, in place of those of a request that did not come to a job."""
        now, start, rows = _now(), 0, []
        for piece in filter(None, pieces):  # an empty one would begin where the next one does
            rows.append({"job": job_id, "start": start, "data": piece, "written_at": now})
            start += len(piece)

        def change(connection: sa.Connection) -> None:
            connection.execute(sa.delete(SPOOL).where(SPOOL.c.job == job_id))
            if rows:
                connection.execute(sa.insert(SPOOL), rows)

        await self._database.write(change)

    def read(self, job_id: str, place: SpoolPlace) -> bytes:
        """Return one piece; blocks. Raises SourceChangedError when it is gone."""
        if not place.length:
            return b""
        query = sa.select(SPOOL.c.data).where(SPOOL.c.job == job_id, SPOOL.c.start == place.offset)
        data: bytes | None = self._database.read_blocking(
            lambda connection: connection.execute(query).scalar_one_or_none()
        )
        if data is None:
            raise SourceChangedError("the bytes given with the job are gone")
        return data

    async def copy(self, job_id: str, to_job_id: str) -> None:
        """Keep a job's pieces for another job as well, unless it has them."""
        known = sa.select(SPOOL.c.start).where(SPOOL.c.job == to_job_id).limit(1)
        pieces = sa.select(sa.literal(to_job_id), SPOOL.c.start, SPOOL.c.data, sa.literal(_now()))
        pieces = pieces.where(SPOOL.c.job == job_id)

        def change(connection: sa.Connection) -> None:
            if connection.execute(known).one_or_none() is None:
                columns = ["job", "start", "data", "written_at"]
                connection.execute(sa.insert(SPOOL).from_select(columns, pieces))

        await self._database.write(change)

    async def delete(self, job_id: str) -> None:
        """Forget a job's pieces."""
        statement = sa.delete(SPOOL).where(SPOOL.c.job == job_id)
        await self._database.write(lambda connection: connection.execute(statement))

    async def keep_only(self, job_ids: Collection[str]) -> None:
        """Forget the pieces of all other jobs, unless they are quite new."""
        statement = sa.delete(SPOOL).where(
            SPOOL.c.job.not_in(job_ids), SPOOL.c.written_at < _now() - _SETTLED_MICROS
        )
        await self._database.write(lambda connection: connection.execute(statement))


def _now() -> int:
    return to_micros(datetime.now(UTC))
