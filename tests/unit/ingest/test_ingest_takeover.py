"""Who is alive among several workers, and what becomes of the tasks of those that are not."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta

import pytest

from lookalike_common.errors import BackendUnavailableError
from lookalike_common.testing import assert_eventually
from lookalike_ingest.adapters.postgres_presence import PostgresPresence
from lookalike_ingest.tasks.takeover import Claim, Takeover
from tests.support.postgres_server import PostgresServer, started_postgres


class World:
    """Claims, who holds a lock, and the time."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.gone: set[str] = set()
        self.now = 0.0
        self.taken: list[str] = []
        self.begun: list[str] = []
        self.held = 0
        self.blind = False

    async def list_claims(self) -> Sequence[Claim]:
        return self.claims

    async def take_over(self, executor: str) -> None:
        self.taken.append(executor)
        self.claims = [each for each in self.claims if each.executor != executor]

    async def begin_again(self, claims: Sequence[Claim]) -> None:
        self.begun += [each.key for each in claims]

    async def hold(self) -> None:
        self.held += 1

    async def release(self) -> None:
        """Nobody asks."""

    async def find_gone(self, executors: Collection[str]) -> Collection[str]:
        if self.blind:
            raise BackendUnavailableError("away")
        return self.gone & set(executors)

    def takeover(self) -> Takeover:
        return Takeover(self, self, delay=timedelta(seconds=3), clock=lambda: self.now)


async def test_tasks_are_taken_from_those_that_stay_away() -> None:
    world = World()
    world.claims = [Claim("a", "shard", "one"), Claim("b", "shard", "two")]
    takeover = world.takeover()
    await takeover.look()
    world.gone = {"one"}
    for moment in (10.0, 12.9):
        world.now = moment
        await takeover.look()
        assert not world.taken
    world.now = 13.0
    await takeover.look()
    await takeover.look()
    assert world.taken == ["one"]
    assert not world.begun


async def test_who_comes_back_in_time_keeps_its_tasks() -> None:
    world = World()
    world.claims = [Claim("a", "shard", "one")]
    takeover = world.takeover()
    for moment, gone in ((0.0, {"one"}), (2.0, set()), (4.0, {"one"}), (6.9, {"one"})):
        world.now, world.gone = moment, gone
        await takeover.look()
    assert not world.taken
    world.now = 7.0
    await takeover.look()
    assert world.taken == ["one"]


async def test_a_task_whose_beginning_was_lost_begins_again() -> None:
    """The database said that this process has it, but the answer never came."""
    world = World()
    world.claims = [Claim("a", "shard", "me", mislaid=True), Claim("b", "shard", "me")]
    takeover = world.takeover()
    await takeover.look()
    world.now = 3.0
    await takeover.look()
    assert world.begun == ["a"]
    assert not world.taken


async def test_nobody_is_dead_right_after_the_database_was_away() -> None:
    world = World()
    world.claims, world.gone = [Claim("a", "shard", "one")], {"one"}
    takeover = Takeover(
        world,
        world,
        delay=timedelta(seconds=3),
        interval=timedelta(0),
        clock=lambda: world.now,
    )
    running = asyncio.create_task(takeover.run())
    await assert_eventually(lambda: world.held > 2)
    world.blind = True
    before = world.held
    await assert_eventually(lambda: world.held > before + 2)
    world.now = 4.0
    world.blind = False
    before = world.held
    await assert_eventually(lambda: world.held > before + 2)
    assert not world.taken
    world.now = 7.0
    await assert_eventually(lambda: bool(world.taken))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_lock_is_held_as_long_as_its_session(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    one, two = PostgresPresence(url, "one"), PostgresPresence(url, "two")
    with pytest.raises(BackendUnavailableError):
        await two.find_gone(["one"])
    await one.hold()
    await two.hold()
    await two.hold()
    assert await two.find_gone(["one", "two", "three"]) == {"three"}
    with pytest.raises(BackendUnavailableError, match="still held"):
        await PostgresPresence(url, "one").hold()
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        url.rpartition("/")[2],
    )
    with pytest.raises(BackendUnavailableError):
        await two.hold()
    await two.hold()
    assert await two.find_gone(["one", "two"]) == {"one"}
    with pytest.raises(BackendUnavailableError):
        await one.find_gone(["two"])
    await one.hold()
    assert await two.find_gone(["one"]) == set()
    await one.release()
    await assert_gone(two, "one")
    await two.release()


async def test_a_lock_is_held_again_after_the_database_was_killed() -> None:
    with started_postgres() as server:
        one = PostgresPresence(server.url(), "one")
        await one.hold()
        server.kill()
        for _ in range(2):
            with pytest.raises(BackendUnavailableError):
                await one.hold()
        server.start()
        await one.hold()
        assert await one.find_gone(["one", "two"]) == {"two"}
        await one.release()


async def assert_gone(presence: PostgresPresence, executor: str) -> None:
    async def is_gone() -> bool:
        return bool(await presence.find_gone([executor]))

    await assert_eventually(is_gone)
