"""The engine on SQLite and PostgreSQL: what `JobEngine` and `Claims` promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from lookalike_common.testing import assert_eventually
from lookalike_ingest.adapters.dbos_engine import DbosEngine
from lookalike_ingest.tasks.engine import Steps, Task, Work
from tests.support.ingest_database import PreparedPostgres, prepare_engine


class Recorder:
    """A handler whose tasks wait until they may end, and what it saw."""

    def __init__(self) -> None:
        self.begun: list[Task] = []
        self.ended: list[Task] = []
        self.calls: list[str] = []
        self.most_at_once = 0
        self.may_end = asyncio.Event()

    async def handle(self, task: Task, steps: Steps) -> None:
        self.begun.append(task)
        self.most_at_once = max(self.most_at_once, len(self.begun) - len(self.ended))

        async def count() -> int:
            self.calls.append(task.key)
            return 7

        assert await steps.run("count", count) == 7
        await self.may_end.wait()
        self.ended.append(task)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        file = f"sqlite:///{tmp_path / 'engine.sqlite'}"
        prepare_engine(file)
        return file
    return postgres_url(request)


def postgres_url(request: pytest.FixtureRequest) -> str:
    prepared: PreparedPostgres = request.getfixturevalue("prepared_postgres")
    return prepared.create_database()


Start = Callable[..., Awaitable[DbosEngine]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start engines one after the other: DBOS allows one in a process."""
    running: list[DbosEngine] = []

    async def start_one(
        url: str, recorder: Recorder | None, executor: str = "local", at_once: int = 2
    ) -> DbosEngine:
        while running:
            await running.pop().stop()
        engine = DbosEngine(url, polling_interval=timedelta(milliseconds=50), executor_id=executor)
        running.append(engine)
        await engine.start({"shard": Work(recorder.handle, at_once)} if recorder else {})
        return engine

    yield start_one
    while running:
        await running.pop().stop()


async def test_a_task_runs_once_in_its_turn(url: str, start: Start) -> None:
    recorder = Recorder()
    engine = await start(url, recorder, at_once=1)
    await engine.submit(Task("shard", "a", 0, 9))
    await assert_eventually(lambda: len(recorder.begun) == 1)
    for first in (30, 10, 20, 10):
        await engine.submit(Task("shard", "b", first, first + 9, turn=first))
    await engine.submit(Task("shard", "b", 10, 19, round=1, turn=10))
    recorder.may_end.set()
    await assert_eventually(lambda: len(recorder.ended) == 5)
    assert [task.first for task in recorder.ended] == [0, 10, 10, 20, 30]
    assert recorder.most_at_once == 1
    await engine.submit(Task("shard", "b", 20, 29))
    await engine.submit(Task("shard", "c", 0, 9))
    await assert_eventually(lambda: recorder.ended[-1].job == "c")
    assert len(recorder.ended) == 6


async def test_what_was_stopped_goes_on_behind_its_finished_steps(url: str, start: Start) -> None:
    recorder = Recorder()
    engine = await start(url, recorder, executor="one")
    await engine.submit(Task("shard", "a"))
    await assert_eventually(lambda: len(recorder.calls) == 1)
    engine = await start(url, recorder, executor="one")
    await assert_eventually(lambda: len(recorder.begun) == 2)
    recorder.may_end.set()
    await assert_eventually(lambda: len(recorder.ended) == 1)
    assert len(recorder.calls) == 1


async def test_cancelling_drops_what_waits(url: str, start: Start) -> None:
    recorder = Recorder()
    engine = await start(url, recorder)
    for first in (0, 10, 20):
        for job in ("a", "ab"):
            await engine.submit(Task("shard", job, first, first + 9))
    await assert_eventually(lambda: len(recorder.begun) == 2)
    await engine.cancel("a")
    recorder.may_end.set()
    await assert_eventually(lambda: len(recorder.ended) == 4)
    assert sorted(task.job for task in recorder.ended) == ["a", "ab", "ab", "ab"]


async def test_a_forgotten_task_is_a_new_one(url: str, start: Start) -> None:
    recorder = Recorder()
    recorder.may_end.set()
    engine = await start(url, recorder)
    for count in (1, 2):
        await engine.submit(Task("shard", "a"))
        await assert_eventually(lambda: len(recorder.ended) == count)  # noqa: B023 - waited for here

        async def is_done() -> bool:
            return not await engine.list_claims()

        await assert_eventually(is_done)
        await engine.forget("a")


async def test_only_submitting(url: str, start: Start) -> None:
    recorder = Recorder()
    recorder.may_end.set()
    front = await start(url, None, executor="front")
    await front.submit(Task("shard", "a"))
    assert await front.list_claims() == []
    await start(url, recorder, executor="back")
    await assert_eventually(lambda: len(recorder.ended) == 1)


async def test_others_tasks_are_left_alone_until_they_are_taken_over(
    request: pytest.FixtureRequest, start: Start
) -> None:
    url = postgres_url(request)
    recorder = Recorder()
    engine = await start(url, recorder, executor="one")
    for first in (0, 10, 20):
        await engine.submit(Task("shard", "a", first, first + 9))
    await assert_eventually(lambda: len(recorder.calls) == 2)
    engine = await start(url, recorder, executor="two")
    await assert_eventually(lambda: len(recorder.calls) == 3)
    claims = await engine.list_claims()
    assert sorted(each.executor for each in claims) == ["one", "one", "two"]
    assert not any(each.mislaid for each in claims)
    await engine.take_over("one")
    await engine.take_over("one")
    recorder.may_end.set()
    await assert_eventually(lambda: len(recorder.ended) == 3)
    assert len(recorder.calls) == 3
    assert len(recorder.begun) == 5, "one of two's own was begun again"


async def test_a_claim_whose_answer_was_lost_is_found(
    request: pytest.FixtureRequest, start: Start
) -> None:
    url = postgres_url(request)
    front = await start(url, None)
    await front.submit(Task("shard", "a"))
    await execute(url, "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = 'gone'")
    recorder = Recorder()
    recorder.may_end.set()
    engine = await start(url, recorder, executor="me")
    await execute(url, "UPDATE dbos.workflow_status SET executor_id = 'me'")
    (claim,) = await engine.list_claims()
    assert (claim.executor, claim.kind, claim.mislaid) == ("me", "shard", True)
    await engine.begin_again([claim])
    await assert_eventually(lambda: len(recorder.ended) == 1)


async def execute(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())
