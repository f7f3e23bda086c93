"""What each process does for each job, and what all of them have left to do."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa

from lookalike_ingest.adapters.sql_changes import now_micros
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_tables import JOBS, LOADS
from lookalike_ingest.job import UNFINISHED_STATES, JobState
from lookalike_ingest.progress import Load


class SqlLoadStore:
    """A `LoadStore`."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def put_load(self, job_id: str, executor: str, load: Load) -> None:
        """Keep what a process does for a job."""
        await self._database.write(lambda connection: _put(connection, job_id, executor, load))

    async def list_loads(
        self, job_ids: Sequence[str], max_age: timedelta
    ) -> Mapping[str, Sequence[Load]]:
        """Return what all processes do for jobs."""
        oldest = now_micros() - round(max_age.total_seconds() * 1_000_000)
        query = sa.select(LOADS).where(LOADS.c.job.in_(job_ids), LOADS.c.written_at >= oldest)
        found: defaultdict[str, list[Load]] = defaultdict(list)
        for row in await self._database.read(lambda connection: connection.execute(query).all()):
            found[row.job].append(Load(row.items_per_second, json.loads(row.steps)))
        return found

    async def count_backlog(self, shard_items: int) -> int:
        """Return how many tasks all unfinished jobs have left, each of so many items at most."""
        done = JOBS.c.created + JOBS.c.updated + JOBS.c.unchanged + JOBS.c.skipped + JOBS.c.failed
        query = sa.select(JOBS.c.listed, JOBS.c.found - done).where(
            JOBS.c.state.in_(UNFINISHED_STATES - {JobState.PAUSED})
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return sum(-(-max(0, left) // shard_items) + (not listed) for listed, left in rows)


def _put(connection: sa.Connection, job_id: str, executor: str, load: Load) -> None:
    known = sa.and_(LOADS.c.job == job_id, LOADS.c.executor == executor)
    values = {
        "written_at": now_micros(),
        "items_per_second": load.items_per_second,
        "steps": json.dumps(load.steps),
    }
    if not connection.execute(sa.update(LOADS).where(known).values(**values)).rowcount:
        connection.execute(sa.insert(LOADS).values(job=job_id, executor=executor, **values))
