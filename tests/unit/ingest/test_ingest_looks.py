"""What looks at a source leave in the job store, what vanished between them, and large jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from lookalike_ingest.adapters import sql_changes
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_job_store import SqlJobStore
from lookalike_ingest.adapters.sql_tables import METADATA
from lookalike_ingest.batches.batching import BatchLimits
from lookalike_ingest.job import (
    FilesSource,
    ItemResult,
    Job,
    JobOptions,
    JobSpec,
    JobState,
    NewItem,
    Outcome,
)
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import NewJob
from lookalike_ingest.places import FilePlace

SPEC = JobSpec("collections/photos", FilesSource(["file:///photos/"]), JobOptions(sync=True))
OTHER = replace(SPEC, source=FilesSource(["file:///other/"]))
WATCHING = replace(SPEC, options=JobOptions(sync=True, watch_interval=timedelta(microseconds=1)))
LIMITS = BatchLimits(items=64, bytes=1 << 20)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlJobStore]:
    database = SqlDatabase(database_url, METADATA)
    await database.open()
    yield SqlJobStore(database, JobFeed())
    await database.close()


def item(key: str, version: str = "1") -> NewItem:
    return NewItem(key, "", FilePlace(f"/{key}"), 1, version=version)


async def create(store: SqlJobStore, name: str, spec: JobSpec = SPEC, tenant: str = "") -> Job:
    return await store.create(NewJob(name, tenant, name, "d", spec), max_unfinished=99)


async def look(store: SqlJobStore, job: str, *items: NewItem) -> Job:
    """List items and bring them to good outcomes; return the job as it stands."""
    before = await store.begin_expansion(job)
    await store.add_items(job, items)
    now = await store.end_expansion(job)
    numbers = range(before.found, now.found)
    return await store.record(job, [ItemResult(n, Outcome.CREATED) for n in numbers])


async def run(
    store: SqlJobStore, name: str, *keys: str, spec: JobSpec = SPEC, tenant: str = ""
) -> None:
    """Run a job over some items to its end, which syncs."""
    await create(store, name, spec, tenant)
    await look(store, name, *map(item, keys))
    await store.complete(name, synced=True)


async def vanished(store: SqlJobStore, job: str) -> list[str]:
    found = []
    after = (0, -1)
    while page := await store.list_vanished(job, after=after, limit=1):
        found += [each.key for each in page]
        after = (page[-1].generation, page[-1].ordinal)
    return found


async def test_what_earlier_jobs_over_the_source_had_is_gone(store: SqlJobStore) -> None:
    await run(store, "oldest", "a", "b", "c")
    await run(store, "tenant", "a", "x", tenant="ants")
    await run(store, "before", "b", "c", "d")
    await run(store, "source", "c", spec=OTHER)
    await create(store, "dry", replace(SPEC, options=JobOptions(dry_run=True)))
    await look(store, "dry", item("e"))
    await create(store, "now")
    await look(store, "now", item("b"))
    assert await vanished(store, "now") == ["d"], "a went with the sync before, c is another's"
    await store.complete("now", synced=True)
    assert (await store.load("now")).state is JobState.SUCCEEDED


async def test_the_last_sync_of_a_source_is_remembered(store: SqlJobStore) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    await run(store, "first", "a")
    assert await store.list_ended_before(later) == []
    await run(store, "second", "a")
    assert await store.list_ended_before(later) == ["first"]
    await run(store, "else", "a", spec=OTHER)
    assert await store.list_ended_before(later) == ["first"]


async def test_a_look_finds_what_is_new_or_changed(store: SqlJobStore) -> None:
    await create(store, "w", WATCHING)
    first = await look(store, "w", item("a"), item("b"), item("c"))
    assert (first.counts.created, first.counts.total, first.found) == (3, None, 3)
    assert (await store.begin_look("w")).round == 0, "the first look is not finished"
    await store.complete("w", synced=True)
    assert [job.id for job in await store.list_looks()] == ["w"]
    begun = await store.begin_look("w")
    assert (begun.round, begun.listed) == (1, False)
    assert begun.generation > first.generation
    assert (await store.begin_look("w")).round == 1
    second = replace(item("a"), place=FilePlace("/elsewhere/a"))
    now = await look(store, "w", item("a"), item("b", "2"), item("d"), second)
    assert (now.found, now.counts.created, now.counts.failed) == (6, 5, 1)
    assert await vanished(store, "w") == ["c"]
    await store.forget_vanished("w")
    assert await vanished(store, "w") == []
    await store.complete("w", synced=True)
    await store.begin_look("w")
    again = await look(store, "w", item("a"), second, item("b", "2"), item("d"), item("c"))
    assert again.found == 7, "what came back is new, a second one with a key failed once"
    ended = await store.end("w", JobState.CANCELLED)
    assert (ended.counts.total, ended.counts.done) == (7, 7)


async def test_resuming_is_no_look(store: SqlJobStore) -> None:
    await create(store, "w", WATCHING)
    await look(store, "w", item("a"))
    await store.pause("w")
    await store.resume("w")
    assert await vanished(store, "w") == []
    await store.complete("w")
    assert (await store.load("w")).state_reason == "watching"


async def test_a_clock_that_is_set_back_changes_no_order(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await create(store, "before")
    begun = await store.begin_expansion("before")
    past = sql_changes.now_micros() - 3600 * 1_000_000
    monkeypatch.setattr(sql_changes, "now_micros", lambda: past)
    after = await create(store, "after")
    assert after.generation > before.generation
    await store.add_items("before", [item("a")])
    listed = await store.end_expansion("before")
    assert listed.revision > begun.revision
    ended = await store.end("before", JobState.CANCELLED)
    assert ended.revision > listed.revision
    assert ended.ended_at is not None
    assert ended.started_at is not None
    assert ended.ended_at >= ended.started_at


@contextmanager
def statements() -> Iterator[list[str]]:
    """Note every statement that any database is given."""
    seen: list[str] = []

    # Any: what SQLAlchemy passes to listeners.
    def note(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def test_a_large_job_asks_no_more_of_the_database(store: SqlJobStore) -> None:
    """Claiming, recording and cancelling make as many statements, whatever the job's size."""
    made = []
    for name, count in (("small", 64), ("large", 2000)):
        await create(store, name)
        await store.begin_expansion(name)
        for first in range(0, count, 500):
            numbers = range(first, min(first + 500, count))
            await store.add_items(name, [item(f"{n}") for n in numbers])
        await store.end_expansion(name)
        with statements() as seen:
            batch = await store.claim_batch(name, count - 64, count - 1, LIMITS)
            await store.record(name, [ItemResult(batch[0].ordinal, Outcome.CREATED)])
            await store.end(name, JobState.CANCELLED)
        made.append(len(seen))
        assert not any("count(" in each.lower() and "items" in each for each in seen)
    assert made[0] == made[1]


async def test_batches_are_found_by_an_index(store: SqlJobStore) -> None:
    await create(store, "a")
    with statements() as seen:
        await store.begin_expansion("a")
        await store.add_items("a", [item("x")])
        await store.end_expansion("a")
        await store.claim_batch("a", 0, 9, LIMITS)
    claims = [each for each in seen if "BETWEEN" in each]
    assert len(claims) == 1, "the plan below is of this statement"
    plan = await _plan(store, "items.ordinal BETWEEN 0 AND 9 AND items.outcome IS NULL")
    assert "SCAN items" not in plan
    assert "Seq Scan" not in plan


async def _plan(store: SqlJobStore, condition: str) -> str:
    """Return how the database would find some items of a job, as if there were many."""
    database: SqlDatabase = store._database

    def explain(connection: sa.Connection) -> str:
        query = f"SELECT * FROM items WHERE items.job = 'a' AND {condition}"  # noqa: S608 - ours
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
            return "\n".join(str(row[3]) for row in rows)
        connection.exec_driver_sql("SET enable_seqscan = off")
        return "\n".join(str(row[0]) for row in connection.exec_driver_sql(f"EXPLAIN {query}"))

    return await database.read(explain)
