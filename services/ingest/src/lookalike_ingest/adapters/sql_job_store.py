"""The job store on SQL: SQLite on one machine, PostgreSQL in a cluster."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from lookalike_common.errors import NotFoundError
from lookalike_ingest.adapters import sql_changes as changes
from lookalike_ingest.adapters import sql_expansion as finding
from lookalike_ingest.adapters import sql_queries as queries
from lookalike_ingest.adapters import sql_sync as sync
from lookalike_ingest.adapters import sql_turns as turns
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_rows import failure_from_row, job_from_row, to_micros
from lookalike_ingest.adapters.sql_tables import FAILURES, JOBS
from lookalike_ingest.batches.batching import BatchLimits
from lookalike_ingest.fairness import Turns
from lookalike_ingest.job import (
    Item,
    ItemFailure,
    ItemResult,
    Job,
    JobState,
    ListedItem,
    NewItem,
    Outcome,
    VanishedItem,
)
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import JobFilter, NewJob, Stretch
from lookalike_ingest.problem import Problem


class SqlJobStore:
    """A `JobStore`; every change is announced in `feed` after its transaction."""

    def __init__(self, database: SqlDatabase, feed: JobFeed) -> None:
        self._database = database
        self._feed = feed

    async def create(
        self, new: NewJob, *, max_unfinished: int, max_of_tenant: int | None = None
    ) -> Job:
        """Keep a job, or return the one that the same request made before."""
        return await self._database.write(
            lambda connection: changes.create_job(connection, new, max_unfinished, max_of_tenant)
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
        which: JobFilter,
        *,
        before_generation: int | None,
        limit: int,
    ) -> Sequence[Job]:
        """Return jobs, newest first."""
        return await self._database.read(
            lambda connection: queries.list_jobs(
                connection, tenant, which, before_generation, limit
            )
        )

    async def list_unfinished(self) -> Sequence[Job]:
        """Return the jobs that are not final, oldest first."""
        return await self._database.read(queries.list_unfinished)

    async def list_looks(self) -> Sequence[Job]:
        """Return the jobs whose next look at their source is due."""
        return await self._database.read(
            lambda connection: queries.list_looks(connection, changes.now_micros())
        )

    async def list_retriable(self) -> Sequence[str]:
        """Return the ids of the jobs of which items may be left to do."""
        return await self._database.read(queries.list_retriable)

    async def begin_expansion(self, job_id: str) -> Job:
        """Set a job to work on finding its items."""
        return self._publish(
            await self._database.write(
                lambda connection: finding.begin_expansion(connection, job_id)
            )
        )

    async def begin_look(self, job_id: str) -> Job:
        """Begin the next round of a job whose look at its source is due."""
        return self._publish(
            await self._database.write(lambda connection: finding.begin_look(connection, job_id))
        )

    async def add_items(
        self, job_id: str, items: Sequence[NewItem], expansion: int | None = None
    ) -> Job:
        """Keep found items in order."""
        return await self._database.write(
            lambda connection: finding.add_items(connection, job_id, items, expansion)
        )

    async def end_expansion(self, job_id: str, expansion: int | None = None) -> Job:
        """Set the total; a job without anything left to do becomes final."""
        return self._publish(
            await self._database.write(
                lambda connection: finding.end_expansion(connection, job_id, expansion)
            )
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

    async def record(
        self,
        job_id: str,
        results: Sequence[ItemResult],
        *,
        removed: int = 0,
        stored_bytes: int = 0,
    ) -> Job:
        """Record outcomes, each once; the last one makes the job final."""
        return self._publish(
            await self._database.write(
                lambda connection: changes.record(
                    connection, job_id, results, removed, stored_bytes
                )
            )
        )

    async def set_waiting(self, job_id: str, reason: str) -> Job:
        """Say that the job waits for something."""
        return await self._set_state(job_id, JobState.WAITING, reason)

    async def set_running(self, job_id: str) -> Job:
        """Say that the job works again."""
        return await self._set_state(job_id, JobState.RUNNING, "")

    async def set_warnings(self, job_id: str, warnings: Sequence[str]) -> None:
        """Keep what a job's owner should know."""
        self._publish(
            await self._database.write(
                lambda connection: changes.set_warnings(connection, job_id, warnings)
            )
        )

    async def complete(self, job_id: str, *, synced: bool = False) -> Job:
        """End a job of which all items are done, or let it wait for its next look."""
        return self._publish(
            await self._database.write(
                lambda connection: changes.complete_job(connection, job_id, synced=synced)
            )
        )

    async def last_written(self, job_id: str) -> str | None:
        """Return the key of the item that a job wrote last."""
        return await self._database.read(
            lambda connection: queries.last_written(connection, job_id)
        )

    async def list_vanished(
        self, job_id: str, *, after: tuple[int, int], limit: int
    ) -> Sequence[VanishedItem]:
        """Return vanished items behind a generation and an ordinal."""
        return await self._database.read(
            lambda connection: sync.list_vanished(connection, job_id, after, limit)
        )

    async def forget_vanished(self, job_id: str) -> None:
        """Let what vanished between two looks of a job be new if it returns."""
        await self._database.write(lambda connection: sync.forget_vanished(connection, job_id))

    async def choose_turns(self, job_id: str, kind: str) -> Turns:
        """Give turns to a job's tasks of a kind."""
        return await self._database.read(
            lambda connection: turns.choose_turns(connection, job_id, kind)
        )

    async def begin_turn(self, kind: str, turn: int) -> None:
        """Note that a task of a kind began."""
        await self._database.write(lambda connection: turns.begin_turn(connection, kind, turn))

    async def begin_pace(self, job_id: str, first: int) -> None:
        """Let a job's items be released one stretch after the other, from an ordinal on."""
        await self._database.write(lambda connection: turns.begin_pace(connection, job_id, first))

    async def list_paced(self) -> Sequence[Job]:
        """Return the jobs of which more items are to be released, now or later."""
        return await self._database.read(turns.list_paced)

    async def begin_release(self, job_id: str, max_items: int) -> Stretch | None:
        """Choose the next stretch of a job; None for not yet."""
        return await self._database.write(
            lambda connection: turns.begin_release(connection, job_id, max_items)
        )

    async def end_release(self, job_id: str, stretch: Stretch) -> None:
        """Note that a stretch was submitted."""
        await self._database.write(
            lambda connection: turns.end_release(connection, job_id, stretch)
        )

    async def pause(self, job_id: str) -> Job:
        """Stop a job until it is resumed."""
        return self._publish(
            await self._database.write(lambda connection: changes.pause_job(connection, job_id))
        )

    async def resume(self, job_id: str) -> Job:
        """Begin another round of a paused job."""
        return self._publish(
            await self._database.write(lambda connection: changes.resume_job(connection, job_id))
        )

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

    async def list_items(
        self, job_id: str, *, outcomes: Sequence[Outcome | None], after: int, limit: int
    ) -> Sequence[ListedItem]:
        """Return items with an ordinal above `after`."""
        return await self._database.read(
            lambda connection: queries.list_items(connection, job_id, outcomes, after, limit)
        )

    async def first_pending(self, job_id: str) -> int | None:
        """Return the ordinal of the first item without an outcome."""
        return await self._database.read(
            lambda connection: queries.first_pending(connection, job_id)
        )

    async def has_left(self, job_id: str) -> bool:
        """Tell whether a job has items that failed or were not reached."""
        return await self._database.read(lambda connection: queries.has_left(connection, job_id))

    async def must_list_again(self, job_id: str) -> bool:
        """Tell whether parts of a job's source could not be listed, or were not."""
        return await self._database.read(
            lambda connection: queries.must_list_again(connection, job_id)
        )

    async def list_left(
        self, job_id: str, *, after: int, limit: int
    ) -> tuple[Sequence[NewItem], int]:
        """Return items that failed or were not reached, and the ordinal of the last one."""
        return await self._database.read(
            lambda connection: queries.list_left(connection, job_id, after, limit)
        )

    async def drop_done(self, job_id: str, items: Sequence[NewItem]) -> Sequence[NewItem]:
        """Return those of the found items that a job has not brought to a good outcome."""
        return await self._database.read(
            lambda connection: queries.drop_done(connection, job_id, items)
        )

    async def list_ended_before(self, moment: datetime) -> Sequence[str]:
        """Return the ids of jobs that ended before a moment."""
        return await self._database.read(
            lambda connection: sync.list_ended_before(connection, to_micros(moment))
        )

    async def delete(self, job_id: str) -> None:
        """Forget a job."""
        await self._database.write(lambda connection: changes.delete_job(connection, job_id))

    async def claim_chore(self, name: str, every: timedelta) -> bool:
        """Tell whether a chore is due, and this caller's to do."""
        return await self._database.write(
            lambda connection: changes.claim_chore(connection, name, every)
        )

    async def _set_state(self, job_id: str, state: JobState, reason: str) -> Job:
        return self._publish(
            await self._database.write(
                lambda connection: changes.set_state(connection, job_id, state, reason)
            )
        )

    def _publish(self, job: Job) -> Job:
        self._feed.publish(job)
        return job
