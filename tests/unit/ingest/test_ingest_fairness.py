"""Whose turn it is, and the pace of a job, by a clock that the test holds."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator

import pytest

from lookalike_common.errors import OverloadedError
from lookalike_ingest.adapters import sql_turns
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_job_store import SqlJobStore
from lookalike_ingest.adapters.sql_tables import METADATA
from lookalike_ingest.fairness import give_turns
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
from lookalike_ingest.job_store import NewJob, Stretch
from lookalike_ingest.places import FilePlace

SPEC = JobSpec("collections/photos", FilesSource(["file:///photos/"]))
SECOND = 1_000_000


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlJobStore]:
    database = SqlDatabase(database_url, METADATA)
    await database.open()
    yield SqlJobStore(database, JobFeed())
    await database.close()


async def create(store: SqlJobStore, name: str, tenant: str = "", spec: JobSpec = SPEC) -> Job:
    return await store.create(NewJob(name, tenant, name, "d", spec), max_unfinished=1000)


class Queue:
    """Tasks as an engine would run them, one at a time."""

    def __init__(self, store: SqlJobStore) -> None:
        self._store = store
        self._waiting: list[tuple[int, int, str]] = []

    async def submit(self, job: str, tasks: int) -> None:
        turns = await self._store.choose_turns(job, "shard")
        for number in range(tasks):
            heapq.heappush(self._waiting, (turns.of(number), len(self._waiting), job))

    async def run(self, tasks: int) -> list[str]:
        """Run some tasks; return whose they were."""
        done = []
        for _ in range(tasks):
            turn, _, job = heapq.heappop(self._waiting)
            await self._store.begin_turn("shard", turn)
            done.append(job)
        return done


async def test_a_hundred_jobs_of_a_tenant_delay_nobody(store: SqlJobStore) -> None:
    queue = Queue(store)
    for number in range(100):
        await create(store, f"ants-{number}", "ants")
        await queue.submit(f"ants-{number}", 1)
    await queue.run(1)
    await create(store, "bees", "bees")
    await queue.submit("bees", 1)
    assert "bees" in await queue.run(2)


async def test_a_large_job_delays_nobody(store: SqlJobStore) -> None:
    queue = Queue(store)
    await create(store, "ants", "ants")
    await queue.submit("ants", 200)
    await queue.run(50)
    await create(store, "bees", "bees")
    await queue.submit("bees", 200)
    order = await queue.run(100)
    assert 49 <= order.count("bees") <= 51
    await create(store, "small", "ants")
    await queue.submit("small", 1)
    assert "small" in await queue.run(5), "nor a job of the same tenant"


async def test_paused_and_final_jobs_have_no_turns(store: SqlJobStore) -> None:
    for name in ("a", "b", "c"):
        await create(store, name)
    assert (await store.choose_turns("c", "shard")).first == 3
    await store.pause("a")
    await store.end("b", JobState.CANCELLED)
    assert await store.choose_turns("c", "shard") == give_turns(0, 0)


async def test_the_clock_never_goes_back(store: SqlJobStore) -> None:
    await create(store, "a")
    for turn in (5, 3):
        await store.begin_turn("shard", turn)
    assert (await store.choose_turns("a", "shard")).first == 6
    assert (await store.choose_turns("a", "expand")).first == 1


async def test_a_tenant_has_a_limit_of_its_own(store: SqlJobStore) -> None:
    async def create_of(tenant: str, name: str) -> None:
        new = NewJob(name, tenant, name, "d", SPEC)
        await store.create(new, max_unfinished=3, max_of_tenant=2)

    await create_of("ants", "a")
    await create_of("ants", "b")
    with pytest.raises(OverloadedError):
        await create_of("ants", "c")
    await create_of("bees", "d")
    with pytest.raises(OverloadedError):
        await create_of("bees", "e")


class Clock:
    """The time, in microseconds."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    held = Clock()
    monkeypatch.setattr(sql_turns, "now_micros", lambda: held.now)
    return held


async def paced(store: SqlJobStore, pace: float, items: int) -> None:
    spec = JobSpec("collections/c", FilesSource(["x"]), JobOptions(max_items_per_second=pace))
    await create(store, "a", spec=spec)
    await store.begin_expansion("a")
    await store.add_items("a", [NewItem(f"{n}", "", FilePlace(f"/{n}"), 1) for n in range(items)])
    await store.end_expansion("a")
    await store.begin_pace("a", 0)


async def release(store: SqlJobStore) -> list[tuple[int, int]]:
    """Release what is due, and bring it to its end."""
    released = []
    while stretch := await store.begin_release("a", 500):
        assert await store.begin_release("a", 500) == stretch, "a crash repeats it"
        await store.end_release("a", stretch)
        released.append((stretch.first, stretch.last))
        numbers = range(stretch.first, stretch.last + 1)
        await store.record("a", [ItemResult(n, Outcome.CREATED) for n in numbers])
    return released


async def test_a_job_keeps_its_pace(store: SqlJobStore, clock: Clock) -> None:
    await paced(store, 4, 18)
    assert await release(store) == [(0, 3)]
    assert await release(store) == []
    clock.now += SECOND // 2
    assert await release(store) == []
    clock.now += SECOND // 2
    assert [job.id for job in await store.list_paced()] == ["a"]
    assert await release(store) == [(4, 7)]
    clock.now += 100 * SECOND
    assert await release(store) == [(8, 11), (12, 15)], "lost time is made up for by a second"
    clock.now += SECOND
    assert await release(store) == [(16, 17)]
    assert (await store.load("a")).state is JobState.SUCCEEDED


async def test_a_slow_pace_releases_one_by_one(store: SqlJobStore, clock: Clock) -> None:
    await paced(store, 0.1, 3)
    assert await release(store) == [(0, 0)]
    clock.now += 9 * SECOND
    assert await release(store) == []
    clock.now += SECOND
    assert await release(store) == [(1, 1)]


async def test_a_clock_that_is_set_back_stops_nothing(store: SqlJobStore, clock: Clock) -> None:
    await paced(store, 1, 9)
    assert await release(store) == [(0, 0)]
    clock.now -= 3600 * SECOND
    assert await release(store) == [(1, 1)]
    assert await release(store) == []
    clock.now += SECOND
    assert await release(store) == [(2, 2)]


async def test_what_waits_is_not_caught_up_in_a_rush(store: SqlJobStore, clock: Clock) -> None:
    await paced(store, 2, 20)
    for _ in range(5):
        if stretch := await store.begin_release("a", 500):
            await store.end_release("a", stretch)
        clock.now += SECOND
    stretch = Stretch(6, 7, 0)
    assert await store.begin_release("a", 500) is None, "three stretches are under way"
    await store.record("a", [ItemResult(n, Outcome.CREATED) for n in (0, 1)])
    assert await store.begin_release("a", 500) == stretch
    await store.pause("a")
    assert await store.begin_release("a", 500) is None
