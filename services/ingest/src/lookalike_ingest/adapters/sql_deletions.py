"""Deletions of assets that are not done in every collection, in the job store's database."""

from collections.abc import Sequence

import sqlalchemy as sa

from lookalike_ingest.adapters.sql_changes import lock_generation, next_generation, now_micros
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_tables import DELETIONS
from lookalike_ingest.cascade import Deletion


class SqlDeletionStore:
    """A `DeletionStore`."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def add_deletion(self, tenant: str, sha256: str) -> Deletion:
        """Keep a deletion, of all generations until now."""
        return await self._database.write(lambda connection: _add(connection, tenant, sha256))

    async def list_deletions(self, limit: int) -> Sequence[Deletion]:
        """Return some deletions, oldest first."""
        query = sa.select(DELETIONS).order_by(DELETIONS.c.generation).limit(limit)
        return await self._database.read(
            lambda connection: [
                Deletion(row.tenant, row.sha256, row.generation)
                for row in connection.execute(query)
            ]
        )

    async def end_deletion(self, deletion: Deletion) -> None:
        """Forget a deletion, unless the asset was deleted again meanwhile."""
        query = sa.delete(DELETIONS).where(
            DELETIONS.c.tenant == deletion.tenant,
            DELETIONS.c.sha256 == deletion.sha256,
            DELETIONS.c.generation == deletion.generation,
        )
        await self._database.write(lambda connection: connection.execute(query))


def _add(connection: sa.Connection, tenant: str, sha256: str) -> Deletion:
    """Take a generation of its own: every later job has a later one."""
    last = lock_generation(connection)
    generation = next_generation(connection, last, now_micros())
    known = sa.and_(DELETIONS.c.tenant == tenant, DELETIONS.c.sha256 == sha256)
    connection.execute(sa.delete(DELETIONS).where(known))
    values = {"tenant": tenant, "sha256": sha256, "generation": generation}
    connection.execute(sa.insert(DELETIONS).values(**values))
    return Deletion(tenant, sha256, generation)
