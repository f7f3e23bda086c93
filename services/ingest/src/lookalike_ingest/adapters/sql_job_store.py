"""The job store on SQL: SQLite on one machine, PostgreSQL in a cluster."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from lookalike_common.errors import NotFoundError
from lookalike_ingest.adapters import sql_changes as changes
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_rows import failure_from_row, job_from_row, to_micros
from lookalike_ingest.adapters.sql_tables import FAILURES, JOBS
from lookalike_ingest.batching import BatchLimits
from lookalike_ingest.job import (
    FINAL_STATES,
    Item,
    ItemFailure,
    ItemResult,
    Job,
    JobState,
    NewItem,
)
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import NewJob
from lookalike_ingest.problem import Problem


class SqlJobStore:
    """A `JobStore`; every change is announced in `feed` after its transaction."""

    def __init__(self, database: SqlDatabase, feed: JobFeed) -> None:
        self._database = database
        self._feed = feed

    async def create(self, new: NewJob, *, max_unfinished: int) -> Job:
        """Keep a job, or return the one that the same request made before."""
        return await self._database.write(
            lambda connection: changes.create_job(connection, new, max_unfinished)
        )

    async def find(self, tenant: str, job_id: str) -> Job | None:
        """Return a tenant's job, or None."""
        query = sa.select(JOBS).where(JOBS.c.id == job_id, JOBS.c.tenant == tenant)
        return await self._database.read(
            lambda connection: next(map(job_from_row, connection.execute(query)), None)
        )

    async def load(self, job_id: str) -> Job:
        """Return a job of any tenant. Raises NotFoundError."""
        query = sa.select(JOBS).where(JOBS.c.id == job_id)
        job = await self._database.read(
            lambda connection: next(map(job_from_row, connection.execute(query)), None)
        )
        if job is None:
            raise NotFoundError("no such job", resource_name=f"jobs/{job_id}")
        return job

    async def list_jobs(
        self,
        tenant: str,
        *,
        states: Sequence[JobState],
        collection: str,
        before_generation: int | None,
        limit: int,
    ) -> Sequence[Job]:
        """Return jobs, newest first."""
        query = sa.select(JOBS).where(JOBS.c.tenant == tenant)
        if states:
            query = query.where(JOBS.c.state.in_(states))
        if collection:
            query = query.where(JOBS.c.collection == collection)
        if before_generation is not None:
            query = query.where(JOBS.c.generation < before_generation)
        query = query.order_by(JOBS.c.generation.desc()).limit(limit)
        return await self._database.read(
            lambda connection: [job_from_row(row) for row in connection.execute(query)]
        )

    async def list_unfinished(self) -> Sequence[str]:
        """Return the ids of the jobs that are not final, oldest first."""
        query = (
            sa.select(JOBS.c.id)
            .where(JOBS.c.state.not_in(FINAL_STATES))
            .order_by(JOBS.c.generation)
        )
        return await self._database.read(
            lambda connection: list(connection.execute(query).scalars())
        )

    async def begin_expansion(self, job_id: str) -> Job:
        """Set a job to work on finding its items."""
        return self._publish(
            await self._database.write(
                lambda connection: changes.begin_expansion(connection, job_id)
            )
        )

    async def add_items(self, job_id: str, items: Sequence[NewItem]) -> Job:
        """Keep found items in order."""
        return await self._database.write(
            lambda connection: changes.add_items(connection, job_id, items)
        )

    async def end_expansion(self, job_id: str) -> Job:
        """Set the total; a job without anything left to do becomes final."""
        return self._publish(
            await self._database.write(lambda connection: changes.end_expansion(connection, job_id))
        )

    async def claim_batch(
        self, job_id: str, first: int, last: int, limits: BatchLimits
    ) -> Sequence[Item]:
        """Return the next items in [first, last] without an outcome, counting the attempt."""
        return await self._database.write(
            lambda connection: changes.claim_batch(connection, job_id, first, last, limits)
        )

    async def change_attempts(self, job_id: str, ordinals: Sequence[int], by: int) -> None:
        """Take a counted attempt back, or count it."""
        await self._database.write(
            lambda connection: changes.change_attempts(connection, job_id, ordinals, by)
        )

    async def record(self, job_id: str, results: Sequence[ItemResult], *, removed: int = 0) -> Job:
        """Record outcomes, each once; the last one makes the job final."""
        return self._publish(
            await self._database.write(
                lambda connection: changes.record(connection, job_id, results, removed)
            )
        )

    async def set_waiting(self, job_id: str, reason: str) -> Job:
        """Say that the job waits for something."""
        return await self._set_state(job_id, JobState.WAITING, reason)

    async def set_running(self, job_id: str) -> Job:
        """Say that the job works again."""
        return await self._set_state(job_id, JobState.RUNNING, "")

    async def end(self, job_id: str, state: JobState, problem: Problem | None = None) -> Job:
        """Make a job final; items without an outcome count as skipped."""
        return self._publish(
            await self._database.write(
                lambda connection: changes.end_job(connection, job_id, state, problem)
            )
        )

    async def list_failures(self, job_id: str, *, after: int, limit: int) -> Sequence[ItemFailure]:
        """Return failed items with a sequence above `after`, in the order of failing."""
        query = (
            sa.select(FAILURES)
            .where(FAILURES.c.job == job_id, FAILURES.c.sequence > after)
            .order_by(FAILURES.c.sequence)
            .limit(limit)
        )
        return await self._database.read(
            lambda connection: [failure_from_row(row) for row in connection.execute(query)]
        )

    async def list_ended_before(self, moment: datetime) -> Sequence[str]:
        """Return the ids of jobs that ended before a moment."""
        query = sa.select(JOBS.c.id).where(JOBS.c.ended_at < to_micros(moment))
        return await self._database.read(
            lambda connection: list(connection.execute(query).scalars())
        )

    async def delete(self, job_id: str) -> None:
        """Forget a job."""
        await self._database.write(lambda connection: changes.delete_job(connection, job_id))

    async def _set_state(self, job_id: str, state: JobState, reason: str) -> Job:
        return self._publish(
            await self._database.write(
                lambda connection: changes.set_state(connection, job_id, state, reason)
            )
        )

    def _publish(self, job: Job) -> Job:
        self._feed.publish(job)
        return job
