"""The database under the job store: many replicas on one, and what its failures become."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest
import sqlalchemy as sa

from lookalike_common.errors import BackendUnavailableError, StorageFullError
from lookalike_common.testing import assert_eventually
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_errors import translate
from lookalike_ingest.adapters.sql_job_store import SqlJobStore
from lookalike_ingest.adapters.sql_tables import METADATA
from lookalike_ingest.job import (
    FilesSource,
    ItemProblem,
    ItemResult,
    JobSpec,
    JobState,
    NewItem,
    Outcome,
)
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import NewJob
from lookalike_ingest.places import FilePlace
from lookalike_ingest.problem import Problem
from tests.support.postgres_server import PostgresServer, started_postgres

SPEC = JobSpec("collections/photos", FilesSource(["file:///photos/"]))
NEW = NewJob("a", "", "a", "digest", SPEC)
ITEMS = [NewItem(f"{n}", "", FilePlace(f"/{n}"), 10) for n in range(200)]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlDatabase]:
    database = SqlDatabase(url, METADATA)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def replicas(url: str, count: int) -> AsyncIterator[list[SqlJobStore]]:
    """Yield stores as separate processes have them, all opened at once."""
    async with AsyncExitStack() as stack:
        databases = await asyncio.gather(
            *(stack.enter_async_context(opened(url)) for _ in range(count))
        )
        yield [SqlJobStore(each, JobFeed()) for each in databases]


async def test_replicas_start_and_create_at_once(postgres: PostgresServer) -> None:
    async with replicas(postgres.create_database(), 4) as stores:
        same = await asyncio.gather(*(each.create(NEW, max_unfinished=9) for each in stores))
        assert same == [same[0]] * 4
        others = await asyncio.gather(
            *(
                each.create(NewJob(f"job-{n}", "", "", "d", SPEC), max_unfinished=9)
                for n, each in enumerate(stores * 2)
            )
        )
    assert len({job.generation for job in others}) == 8


async def test_the_limit_of_jobs_holds_for_all_replicas(postgres: PostgresServer) -> None:
    async with replicas(postgres.create_database(), 3) as stores:
        news = [NewJob(f"job-{n}", "", "", "d", SPEC) for n in range(9)]
        answers = await asyncio.gather(
            *(
                store.create(new, max_unfinished=4)
                for store, new in zip(stores * 3, news, strict=True)
            ),
            return_exceptions=True,
        )
        assert sum(not isinstance(each, Exception) for each in answers) == 4
        assert len(await stores[0].list_unfinished()) == 4


async def test_outcomes_of_two_workers_count_once(postgres: PostgresServer) -> None:
    """As when a worker that was given up for dead goes on beside the one that took over."""
    problem = ItemProblem("decode", Problem.of(ValueError("x")))
    async with replicas(postgres.create_database(), 2) as stores:
        await stores[0].create(NEW, max_unfinished=9)
        await stores[0].begin_expansion("a")
        await stores[0].add_items("a", ITEMS)
        await stores[0].end_expansion("a")
        batches = [range(start, start + 20) for start in range(0, 200, 20)]
        await asyncio.gather(
            *(
                store.record("a", [ItemResult(n, outcome, written=1, problem=issue) for n in batch])
                for batch in batches
                for store, outcome, issue in (
                    (stores[0], Outcome.CREATED, None),
                    (stores[1], Outcome.FAILED, problem),
                    (stores[1], Outcome.CREATED, None),
                )
            )
        )
        job = await stores[1].load("a")
        failures = await stores[1].list_failures("a", after=0, limit=1000)
    assert job.complete
    assert job.counts.created + job.counts.failed == job.counts.total == job.written == 200
    assert len(failures) == job.counts.failed


async def test_transactions_that_deadlock_are_made_again(postgres: PostgresServer) -> None:
    async with opened(postgres.create_database()) as database:
        await database.write(
            lambda connection: connection.execute(sa.text("CREATE TABLE t AS SELECT 1 a, 0 n"))
        )
        await database.write(
            lambda connection: connection.execute(sa.text("INSERT INTO t SELECT 2"))
        )
        entered = asyncio.Queue[None]()
        loop = asyncio.get_running_loop()

        async def raise_both(first: int, second: int) -> None:
            def change(connection: sa.Connection) -> None:
                for row in (first, second):
                    connection.execute(
                        sa.text("UPDATE t SET n = coalesce(n, 0) + 1 WHERE a = :row"), {"row": row}
                    )
                    loop.call_soon_threadsafe(entered.put_nowait, None)
                    connection.execute(sa.text("SELECT pg_sleep(0.05)"))

            await database.write(change)

        await asyncio.gather(raise_both(1, 2), raise_both(2, 1))
        assert entered.qsize() > 4, "they did not meet"
        rows = await database.read(
            lambda connection: connection.execute(sa.text("SELECT n FROM t")).scalars().all()
        )
    assert rows == [2, 2]


async def test_text_that_one_database_refuses(database_url: str) -> None:
    async with opened(database_url) as database:
        store = SqlJobStore(database, JobFeed())
        await store.create(NEW, max_unfinished=9)
        await store.begin_expansion("a")
        problem = ItemProblem("fetch", Problem.of(ValueError("nul \0")))
        item = NewItem("a\0b", "", FilePlace("/x\0"), 1, {"\0": "\0"}, Outcome.FAILED, problem)
        await store.add_items("a", [item])
        assert (await store.end_expansion("a")).counts.failed == 1
        (failure,) = await store.list_failures("a", after=0, limit=9)
    assert failure.item == "a\ufffdb"


async def test_a_killed_database_is_away_until_it_is_back() -> None:
    with started_postgres() as server:
        async with opened(server.create_database()) as database:
            store = SqlJobStore(database, JobFeed())
            await store.create(NEW, max_unfinished=9)
            server.kill()
            for _ in range(3):
                with pytest.raises(BackendUnavailableError):
                    await store.load("a")
                with pytest.raises(BackendUnavailableError):
                    await store.end("a", JobState.CANCELLED)
            server.start()

            async def ended() -> bool:
                return (await store.end("a", JobState.CANCELLED)).state.final

            await assert_eventually(ended)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (psycopg.errors.DiskFull(), StorageFullError),
        (psycopg.errors.AdminShutdown(), BackendUnavailableError),
        (psycopg.errors.CannotConnectNow(), BackendUnavailableError),
        (psycopg.errors.TooManyConnections(), BackendUnavailableError),
        (psycopg.errors.QueryCanceled(), BackendUnavailableError),
        (psycopg.errors.DeadlockDetected(), BackendUnavailableError),
        (psycopg.OperationalError("server closed the connection"), BackendUnavailableError),
        (psycopg.errors.UndefinedColumn(), type(None)),
        (psycopg.errors.UniqueViolation(), type(None)),
    ],
)
def test_what_errors_mean(cause: psycopg.Error, expected: type) -> None:
    kind = (
        sa.exc.OperationalError
        if isinstance(cause, psycopg.OperationalError)
        else sa.exc.DBAPIError
    )
    assert type(translate(kind("", {}, cause))) is expected
