"""The job store on SQLite and PostgreSQL: outcomes once, counts that add up, rising generations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike_common.errors import (
    AlreadyExistsError,
    InvalidContentError,
    NotFoundError,
    OverloadedError,
    WrongJobStateError,
)
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_job_store import SqlJobStore
from lookalike_ingest.adapters.sql_tables import CHORES, ITEMS, METADATA
from lookalike_ingest.batches.batching import BatchLimits
from lookalike_ingest.job import (
    FilesSource,
    GivenItem,
    ItemProblem,
    ItemResult,
    ItemsSource,
    Job,
    JobOptions,
    JobSpec,
    JobState,
    ListedItem,
    NewItem,
    Outcome,
)
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import JobFilter, NewJob, SupersededError
from lookalike_ingest.places import AssetPlace, FilePlace, SpoolPlace
from lookalike_ingest.problem import Problem

SPEC = JobSpec("collections/photos", FilesSource(["file:///photos/"]))
LIMITS = BatchLimits(items=4, bytes=100)
PROBLEM = ItemProblem("decode", Problem.of(InvalidContentError("empty")))


class Store(SqlJobStore):
    """The store, and a look at its rows."""

    def __init__(self, database: SqlDatabase) -> None:
        super().__init__(database, JobFeed())
        self.database = database

    async def outcomes(self, job_id: str) -> dict[str, int]:
        query = (
            sa.select(ITEMS.c.outcome, sa.func.count())
            .where(ITEMS.c.job == job_id)
            .group_by(ITEMS.c.outcome)
        )
        rows = await self.database.read(lambda connection: connection.execute(query).all())
        return {str(outcome): count for outcome, count in rows}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = SqlDatabase(database_url, METADATA)
    await database.open()
    yield Store(database)
    await database.close()


async def create(store: Store, name: str = "a", spec: JobSpec = SPEC, tenant: str = "") -> Job:
    new = NewJob(name, tenant, name, "digest", spec)
    return await store.create(new, max_unfinished=100)


def items(count: int, start: int = 0) -> list[NewItem]:
    return [
        NewItem(f"{n}.png", f"file:///{n}.png", FilePlace(f"/{n}.png"), 10)
        for n in range(start, start + count)
    ]


async def expanded(store: Store, count: int, spec: JobSpec = SPEC) -> Job:
    job = await create(store, spec=spec)
    await store.begin_expansion(job.id)
    await store.add_items(job.id, items(count))
    return await store.end_expansion(job.id)


async def test_a_job_comes_back_as_it_was_given(store: Store) -> None:
    spec = JobSpec(
        "collections/c",
        ItemsSource(
            [
                GivenItem(SpoolPlace(5, 7, "text"), "1" * 64, "key", "uri", {"a": [1, None]}),
                GivenItem(AssetPlace("2" * 64), "2" * 64),
            ]
        ),
        JobOptions(stop_on_error=True, dry_run=True, discard_assets=True),
        {"ä": {"b": True}},
        {"label": "x"},
    )
    job = await create(store, "given", spec, tenant="ants")
    assert job.spec == spec
    assert await store.find("ants", "given") == job == await store.load("given")
    assert await store.find("bees", "given") is None
    with pytest.raises(NotFoundError):
        await store.load("none")


async def test_the_same_request_is_the_same_job(store: Store) -> None:
    first = await create(store)
    assert await create(store) == first
    with pytest.raises(AlreadyExistsError):
        await store.create(NewJob("a", "", "a", "other", SPEC), max_unfinished=100)


async def test_generations_rise_strictly(store: Store) -> None:
    jobs = await asyncio.gather(*(create(store, f"job-{n}") for n in range(50)))
    generations = sorted(job.generation for job in jobs)
    assert len(set(generations)) == 50
    await store.delete("job-1")
    assert (await create(store, "later")).generation > generations[-1]


async def test_too_many_unfinished_jobs(store: Store) -> None:
    for name in "ab":
        await store.create(NewJob(name, "", name, "d", SPEC), max_unfinished=2)
    with pytest.raises(OverloadedError) as caught:
        await store.create(NewJob("c", "", "c", "d", SPEC), max_unfinished=2)
    assert caught.value.retry_after
    await store.end("a", JobState.CANCELLED)
    await store.create(NewJob("c", "", "c", "d", SPEC), max_unfinished=2)


async def test_a_broken_expansion_begins_anew(store: Store) -> None:
    job = await create(store)
    await store.begin_expansion(job.id)
    await store.add_items(job.id, items(3))
    await store.begin_expansion(job.id)
    await store.add_items(job.id, items(2))
    done = await store.end_expansion(job.id)
    assert done.counts.total == 2
    assert (await store.begin_expansion(job.id)).counts.total == 2
    assert await store.outcomes(job.id) == {"None": 2}


async def test_found_outcomes_count_when_all_are_found(store: Store) -> None:
    job = await create(store)
    await store.begin_expansion(job.id)
    found = [
        *items(1),
        NewItem("skipped", "", FilePlace("/s"), 0, outcome=Outcome.SKIPPED),
        NewItem("bad", "", FilePlace("/b"), 0, outcome=Outcome.FAILED, problem=PROBLEM),
    ]
    assert (await store.add_items(job.id, found)).counts.done == 0
    done = await store.end_expansion(job.id)
    assert (done.counts.skipped, done.counts.failed, done.counts.total) == (1, 1, 3)
    assert done.state is JobState.RUNNING


async def test_one_key_is_one_item(store: Store) -> None:
    job = await create(store)
    await store.begin_expansion(job.id)
    await store.add_items(job.id, items(1))
    same, other = items(1)[0], NewItem("0.png", "", FilePlace("/other/0.png"), 10)
    await store.add_items(job.id, [same, other, same])
    done = await store.end_expansion(job.id)
    assert (done.counts.skipped, done.counts.failed, done.counts.total) == (2, 1, 4)
    (failure,) = await store.list_failures(job.id, after=0, limit=10)
    assert failure.problem.problem.reason == "RESOURCE_EXISTS"


async def test_batches_are_bounded_and_count_attempts(store: Store) -> None:
    job = await expanded(store, 6)
    first = await store.claim_batch(job.id, 0, 5, LIMITS)
    assert [item.ordinal for item in first] == [0, 1, 2, 3]
    assert {item.attempts for item in first} == {1}
    await store.record(job.id, [ItemResult(n, Outcome.CREATED) for n in range(4)])
    await store.claim_batch(job.id, 0, 5, LIMITS)
    second = await store.claim_batch(job.id, 0, 5, LIMITS)
    assert [(item.ordinal, item.attempts) for item in second] == [(4, 2), (5, 2)]
    alone = await store.claim_batch(job.id, 0, 5, LIMITS)
    assert [(item.ordinal, item.attempts) for item in alone] == [(4, 3)]
    await store.change_attempts(job.id, [4], -1)
    again = await store.claim_batch(job.id, 0, 5, LIMITS)
    assert [(item.ordinal, item.attempts) for item in again] == [(4, 3)]


async def test_an_outcome_is_recorded_once(store: Store) -> None:
    job = await expanded(store, 3)
    await store.record(job.id, [ItemResult(0, Outcome.CREATED, written=2)], removed=1)
    again = await store.record(
        job.id,
        [
            ItemResult(0, Outcome.FAILED, problem=PROBLEM),
            ItemResult(1, Outcome.UPDATED, written=1),
        ],
    )
    assert (again.counts.created, again.counts.updated, again.counts.failed) == (1, 1, 0)
    assert (again.written, again.removed) == (3, 1)
    assert not await store.list_failures(job.id, after=0, limit=10)


async def test_the_last_outcome_ends_the_job(store: Store) -> None:
    job = await expanded(store, 2)
    await store.record(job.id, [ItemResult(0, Outcome.CREATED)])
    done = await store.record(job.id, [ItemResult(1, Outcome.FAILED, problem=PROBLEM)])
    assert done.state is JobState.SUCCEEDED_WITH_FAILURES
    assert done.ended_at
    for late in (
        await store.end(job.id, JobState.CANCELLED),
        await store.set_waiting(job.id, "x"),
        await store.record(job.id, [ItemResult(0, Outcome.CREATED)]),
    ):
        assert late == done
    assert await store.claim_batch(job.id, 0, 9, LIMITS) == ()


async def test_a_failure_stops_a_job_that_asked_for_it(store: Store) -> None:
    spec = JobSpec("collections/c", FilesSource(["x"]), JobOptions(stop_on_error=True))
    job = await expanded(store, 3, spec)
    done = await store.record(job.id, [ItemResult(1, Outcome.FAILED, problem=PROBLEM)])
    assert done.state is JobState.FAILED
    assert done.problem == PROBLEM.problem
    assert (done.counts.failed, done.counts.skipped, done.counts.done) == (1, 2, 3)


async def test_waiting_and_running(store: Store) -> None:
    job = await expanded(store, 1)
    waiting = await store.set_waiting(job.id, "encoder: away")
    assert (waiting.state, waiting.state_reason) == (JobState.WAITING, "encoder: away")
    assert (await store.set_waiting(job.id, "encoder: away")).revision == waiting.revision
    running = await store.set_running(job.id)
    assert (running.state, running.state_reason) == (JobState.RUNNING, "")


async def test_listing(store: Store) -> None:
    for name in "abc":
        await create(store, name)
    await create(store, "d", tenant="ants")
    await store.end("b", JobState.CANCELLED)

    async def names(**changes: object) -> list[str]:
        arguments: dict[str, object] = {
            "which": JobFilter(),
            "before_generation": None,
            "limit": 9,
        }
        jobs = await store.list_jobs("", **{**arguments, **changes})  # type: ignore[arg-type] # mixed
        return [job.id for job in jobs]

    assert await names() == ["c", "b", "a"]
    assert await names(which=JobFilter(states=[JobState.CANCELLED])) == ["b"]
    assert await names(which=JobFilter(collection="collections/other")) == []
    assert await names(limit=1) == ["c"]
    assert await names(before_generation=(await store.load("b")).generation) == ["a"]
    assert [job.id for job in await store.list_unfinished()] == ["a", "c", "d"]


async def test_listing_by_labels(store: Store) -> None:
    for name, labels in {"a": {"x": "1"}, "b": {"x": "2", "y": ""}, "c": {}}.items():
        await create(store, name, replace(SPEC, labels=labels))

    async def names(*labels: tuple[str, str | None]) -> list[str]:
        which = JobFilter(labels=labels)
        jobs = await store.list_jobs("", which, before_generation=None, limit=9)
        return [job.id for job in jobs]

    assert await names(("x", None)) == ["b", "a"]
    assert await names(("x", "1")) == ["a"]
    assert await names(("x", None), ("y", "")) == ["b"]
    assert await names(("y", "1")) == []
    await store.delete("b")
    assert await names(("x", None)) == ["a"]


async def test_a_paused_job_stays_paused_until_it_is_resumed(store: Store) -> None:
    job = await expanded(store, 3)
    paused = await store.pause(job.id)
    assert paused.state is JobState.PAUSED
    assert (await store.pause(job.id)).revision == paused.revision
    assert await store.claim_batch(job.id, 0, 2, LIMITS) == ()
    for still in (
        await store.set_waiting(job.id, "encoder: away"),
        await store.set_running(job.id),
        await store.record(job.id, [ItemResult(0, Outcome.CREATED)]),
    ):
        assert still.state is JobState.PAUSED
    resumed = await store.resume(job.id)
    assert (resumed.state, resumed.round) == (JobState.RUNNING, paused.round + 1)
    assert not paused.works_in(paused.round)
    assert resumed.works_in(resumed.round)
    assert not resumed.works_in(paused.round), "tasks of the round before have nothing to do"
    assert (await store.resume(job.id)).revision == resumed.revision
    assert await store.first_pending(job.id) == 1
    await store.record(job.id, [ItemResult(n, Outcome.CREATED) for n in (1, 2)])
    for change in (store.pause, store.resume):
        with pytest.raises(WrongJobStateError):
            await change(job.id)


async def test_a_job_paused_before_it_began_is_pending_again(store: Store) -> None:
    job = await create(store)
    await store.pause(job.id)
    assert (await store.begin_expansion(job.id)).started_at is None
    assert (await store.resume(job.id)).state is JobState.PENDING


async def test_what_is_left_of_a_job(store: Store) -> None:
    job = await create(store)
    await store.begin_expansion(job.id)
    second = NewItem("0.png", "", FilePlace("/other/0.png"), 10)
    await store.add_items(job.id, [*items(4), second])
    await store.end_expansion(job.id)
    await store.record(
        job.id,
        [ItemResult(0, Outcome.CREATED), ItemResult(1, Outcome.FAILED, problem=PROBLEM)],
    )
    await store.end(job.id, JobState.CANCELLED)
    assert await store.has_left(job.id)
    assert not await store.must_list_again(job.id)
    left, last = await store.list_left(job.id, after=-1, limit=2)
    assert ([item.key for item in left], last) == (["1.png", "2.png"], 2)
    left, last = await store.list_left(job.id, after=last, limit=9)
    assert [(item.key, item.outcome) for item in left] == [
        ("3.png", None),
        ("0.png", Outcome.FAILED),
    ]
    assert left[1].problem
    assert left[1].problem.problem.reason == "RESOURCE_EXISTS"
    assert [each.key for each in await store.drop_done(job.id, items(6))] == [
        f"{n}.png" for n in (1, 2, 3, 4, 5)
    ]


async def test_what_could_not_be_listed_is_listed_again(store: Store) -> None:
    job = await create(store, "cut")
    await store.end(job.id, JobState.CANCELLED)
    assert await store.must_list_again(job.id)
    job = await create(store, "refused")
    await store.begin_expansion(job.id)
    refused = NewItem("x/", "", FilePlace(""), 0, outcome=Outcome.FAILED, problem=PROBLEM)
    await store.add_items(job.id, [refused, *items(1)])
    await store.end_expansion(job.id)
    assert await store.must_list_again(job.id)


async def test_items_are_listed_with_what_became_of_them(store: Store) -> None:
    job = await expanded(store, 4)
    await store.claim_batch(job.id, 0, 0, LIMITS)
    await store.record(
        job.id,
        [
            ItemResult(0, Outcome.CREATED, 3, asset="assets/a", media_type="image/png"),
            ItemResult(2, Outcome.FAILED, problem=replace(PROBLEM, asset="assets/b")),
        ],
    )

    async def listed(*outcomes: Outcome | None, after: int = -1) -> list[ListedItem]:
        return list(await store.list_items(job.id, outcomes=outcomes, after=after, limit=9))

    first, *others = await listed()
    assert (first.key, first.written, first.attempts) == ("0.png", 3, 1)
    assert (first.asset, first.media_type) == ("assets/a", "image/png")
    assert [each.outcome for each in others] == [None, Outcome.FAILED, None]
    assert others[1].asset == "assets/b"
    assert [each.ordinal for each in await listed(Outcome.FAILED)] == [2]
    assert [each.ordinal for each in await listed(None, Outcome.CREATED)] == [0, 1, 3]
    assert [each.ordinal for each in await listed(None, after=1)] == [3]


async def test_forgetting(store: Store) -> None:
    job = await expanded(store, 1)
    await store.record(job.id, [ItemResult(0, Outcome.FAILED, problem=PROBLEM)])
    now = datetime.now(UTC)
    assert await store.list_ended_before(now - timedelta(minutes=1)) == []
    assert await store.list_ended_before(now + timedelta(minutes=1)) == [job.id]
    await store.delete(job.id)
    assert await store.find("", job.id) is None
    assert not await store.list_failures(job.id, after=0, limit=10)


RESULTS = st.lists(st.tuples(st.integers(0, 11), st.sampled_from(list(Outcome))), max_size=8)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(RESULTS, max_size=8), st.integers(0, 8))
async def test_counts_always_are_the_rows(
    store: Store, batches: list[list[tuple[int, Outcome]]], cancel_after: int
) -> None:
    """Whatever is recorded in whatever order, again and again, and cancelled in between."""
    await store.delete("a")
    job = await expanded(store, 12)
    seen = job
    for number, batch in enumerate(batches):
        if number == cancel_after:
            await store.end("a", JobState.CANCELLED)
        results = [
            ItemResult(n, outcome, problem=PROBLEM if outcome is Outcome.FAILED else None)
            for n, outcome in batch
        ]
        now = await store.record("a", results)
        assert now.counts.done >= seen.counts.done
        assert now.revision >= seen.revision
        seen = now
    rows = await store.outcomes("a")
    unknown = rows.pop("None", 0)
    counts = seen.counts
    counted = {
        str(outcome): number for outcome in Outcome if (number := getattr(counts, outcome)) > 0
    }
    if seen.state is JobState.CANCELLED:
        rows["skipped"] = rows.get("skipped", 0) + unknown
        assert counts.done == counts.total
    assert counted == {outcome: number for outcome, number in rows.items() if number}
    assert (counts.done == 12) == seen.state.final
    failures = await store.list_failures("a", after=0, limit=100)
    assert len(failures) == counts.failed


async def test_an_expansion_that_was_begun_anew_is_left_alone(store: Store) -> None:
    job = await create(store)
    first = await store.begin_expansion(job.id)
    await store.add_items(job.id, items(3), first.expansion)
    second = await store.begin_expansion(job.id)
    for late in (
        store.add_items(job.id, items(3, start=3), first.expansion),
        store.end_expansion(job.id, first.expansion),
    ):
        with pytest.raises(SupersededError):
            await late
    await store.add_items(job.id, items(2), second.expansion)
    done = await store.end_expansion(job.id, second.expansion)
    assert done.counts.total == 2
    assert await store.outcomes(job.id) == {"None": 2}


async def test_a_chore_is_done_once_in_its_time(store: Store) -> None:
    hour = timedelta(hours=1)
    answers = await asyncio.gather(*(store.claim_chore("tidy", hour) for _ in range(8)))
    assert sorted(answers) == [False] * 7 + [True]
    assert await store.claim_chore("other", hour)
    assert not await store.claim_chore("tidy", hour)
    assert await store.claim_chore("tidy", timedelta(0))
    jumped = sa.update(CHORES).values(done_at=2**60)
    await store.database.write(lambda connection: connection.execute(jumped))
    assert await store.claim_chore("tidy", hour), "a clock that jumped stops it for ever"
