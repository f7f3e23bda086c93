"""What all processes do for a job, what is left to do, and what operators see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_job_store import SqlJobStore
from lookalike_ingest.adapters.sql_loads import SqlLoadStore
from lookalike_ingest.adapters.sql_tables import METADATA
from lookalike_ingest.batches.stopwatch import Stopwatch
from lookalike_ingest.job import FilesSource, ItemResult, Job, JobSpec, NewItem, Outcome
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import NewJob
from lookalike_ingest.metrics import JobMetrics
from lookalike_ingest.places import FilePlace
from lookalike_ingest.progress import Load, ProgressMeter
from lookalike_ingest.progress_board import ProgressBoard
from lookalike_ingest.signals import Signals

SPEC = JobSpec("collections/photos", FilesSource(["file:///photos/"]))
AGE = timedelta(seconds=60)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[SqlDatabase]:
    opened = SqlDatabase(database_url, METADATA)
    await opened.open()
    yield opened
    await opened.close()


async def begun(database: SqlDatabase, name: str, items: int) -> Job:
    store = SqlJobStore(database, JobFeed())
    await store.create(NewJob(name, "", name, "d", SPEC), max_unfinished=9)
    await store.begin_expansion(name)
    new = [NewItem(f"{n}", "", FilePlace(f"/{n}"), 1) for n in range(items)]
    await store.add_items(name, new)
    return await store.end_expansion(name)


async def test_any_process_tells_what_all_do(database: SqlDatabase) -> None:
    job = await begun(database, "a", 10)
    boards = []
    for executor in ("one", "two"):
        meter = ProgressMeter(lambda: 2.0)
        boards.append(ProgressBoard(SqlLoadStore(database), meter, executor))
        watch = Stopwatch()
        watch.seconds["encode"] = 1.0
        meter.add(job.id, 4, 0.0, watch)
        await boards[-1].note(job)
        await boards[-1].note(job)
    other = await begun(database, "b", 1)
    first, nothing = await boards[0].show([job, other])
    assert (first.items_per_second, first.step_load, first.bottleneck) == (
        4.0,
        {"encode": 1.0},
        "encode",
    )
    assert nothing.items_per_second == 0.0
    store = SqlLoadStore(database)
    assert len((await store.list_loads(["a"], AGE))["a"]) == 2
    assert await store.list_loads(["a"], timedelta(seconds=-1)) == {}, "an old word is none"
    await store.put_load("a", "one", Load(9.0))
    assert {each.items_per_second for each in (await store.list_loads(["a"], AGE))["a"]} == {2, 9}


async def test_the_backlog_is_what_is_left(database: SqlDatabase) -> None:
    store, jobs = SqlLoadStore(database), SqlJobStore(database, JobFeed())
    assert await store.count_backlog(4) == 0
    await begun(database, "a", 10)
    assert await store.count_backlog(4) == 3
    await jobs.record("a", [ItemResult(n, Outcome.CREATED) for n in range(6)])
    assert await store.count_backlog(4) == 1
    await jobs.create(NewJob("b", "", "b", "d", SPEC), max_unfinished=9)
    assert await store.count_backlog(4) == 2, "its items are to be found"
    await jobs.pause("b")
    assert await store.count_backlog(4) == 1
    await jobs.record("a", [ItemResult(n, Outcome.CREATED) for n in range(6, 10)])
    assert await store.count_backlog(4) == 0


async def test_gauges_show_backlog_and_load(database: SqlDatabase) -> None:
    await begun(database, "a", 10)
    now = 1.0
    meter, registry = ProgressMeter(lambda: now), CollectorRegistry()
    watch = Stopwatch()
    watch.seconds["encode"] = 0.5
    meter.add("a", 1, 0.0, watch)
    signals = Signals(SqlLoadStore(database), meter, JobMetrics(registry), 5)
    await signals.look()
    assert registry.get_sample_value("lookalike_ingest_backlog_tasks") == 2
    steps = {"step": "encode"}
    assert registry.get_sample_value("lookalike_ingest_step_load", steps) == 0.5
    now = 100.0
    await signals.look()
    assert registry.get_sample_value("lookalike_ingest_step_load", steps) == 0.0


async def test_media_types_are_counted(database: SqlDatabase) -> None:
    job = await begun(database, "a", 4)
    store = SqlJobStore(database, JobFeed())
    png = [ItemResult(n, Outcome.CREATED, media_type="image/png") for n in (0, 1)]
    await store.record(job.id, png, stored_bytes=10)
    wav = ItemResult(2, Outcome.UNCHANGED, media_type="audio/wav")
    done = await store.record(job.id, [*png, wav], stored_bytes=5)
    assert done.media_types == {"image/png": 2, "audio/wav": 1}
    assert done.stored_bytes == 15
