"""Pausing, going on, trying again, and what a job says of each item."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import psycopg
import pytest

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike_common.errors import BackendUnavailableError, InternalError
from lookalike_common.testing import assert_eventually
from lookalike_ingest.settings import IngestSettings
from tests.integration.ingest.conftest import Suite, caught, running_ingest
from tests.integration.ingest.test_ingest_jobs import given, image
from tests.support.ingest_peers import POISON, Peers
from tests.support.pictures import fill, png
from tests.support.zips import make_zip

SUCCEEDED = job_pb2.Job.STATE_SUCCEEDED
WITH_FAILURES = job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES
PAUSED = job_pb2.Job.STATE_PAUSED
RUNNING = job_pb2.Job.STATE_RUNNING
Item = job_pb2.JobItem


async def paused_in_the_middle(suite: Suite, photos: int) -> job_pb2.Job:
    """Pause a job whose first batches are being encoded, then let those go on."""
    fill(suite.root, photos)
    gate = suite.peers.gates["Encode"] = asyncio.Event()
    job = await suite.create_files()
    await assert_eventually(lambda: suite.peers.calls["Encode"] > 0)
    paused = await suite.pause(job)
    assert paused.state == PAUSED
    gate.set()
    return job


async def test_a_paused_job_ends_its_batches_and_begins_no_other(suite: Suite) -> None:
    job = await paused_in_the_middle(suite, 150)
    await assert_eventually(lambda: suite.peers.calls["DeleteEntities"] > 0)
    fill(suite.root / "other", 3, start=1000)
    other = await suite.run_files(f"{suite.root.as_uri()}/other/")
    assert other.counts.created == 3, "the paused job frees its places"
    still = await suite.get(job)
    assert still.state == PAUSED
    assert still.counts.created < 150
    resumed = await suite.resume(job)
    assert resumed.state == RUNNING
    done = await suite.finish(job)
    assert (done.state, done.counts.created, done.counts.total) == (SUCCEEDED, 150, 150)
    assert set(suite.peers.writes.values()) == {1}


async def test_a_paused_job_stays_so_across_a_restart(
    settings: IngestSettings, peers: Peers
) -> None:
    async with running_ingest(settings, peers) as suite:
        job = await paused_in_the_middle(suite, 100)
        await assert_eventually(lambda: suite.peers.calls["DeleteEntities"] > 0)
    peers.gates.clear()
    async with running_ingest(settings, peers) as suite:
        assert (await suite.get(job)).state == PAUSED
        assert (await suite.pause(job)).state == PAUSED
        await suite.resume(job)
    async with running_ingest(settings, peers) as suite:
        done = await suite.finish(job)
        assert (done.state, done.counts.created) == (SUCCEEDED, 100)


async def test_a_job_that_waits_can_be_paused_and_cancelled(suite: Suite) -> None:
    fill(suite.root, 5)
    suite.peers.failures["Encode"] = [BackendUnavailableError("away") for _ in range(10_000)]
    job = await suite.create_files()

    async def waits() -> bool:
        return (await suite.get(job)).state == job_pb2.Job.STATE_WAITING

    await assert_eventually(waits)
    await suite.pause(job)
    fill(suite.root / "other", 1, start=1000)
    cancelled = await suite.cancel(job)
    assert (cancelled.state, cancelled.counts.skipped) == (job_pb2.Job.STATE_CANCELLED, 5)
    suite.peers.failures.clear()
    assert (await suite.run_files()).counts.created == 6


async def test_a_job_paused_while_it_looks_for_items_looks_again(suite: Suite) -> None:
    fill(suite.root, 5)
    gate = suite.peers.gates["GetCollection"] = asyncio.Event()
    suite.peers.open_after["GetCollection"] = 1  # the look of CreateJob
    job = await suite.create_files()
    await assert_eventually(lambda: suite.peers.calls["GetCollection"] > 1)
    await suite.pause(job)
    gate.set()
    await suite.resume(job)
    assert (await suite.finish(job)).counts.created == 5


async def test_retrying_fixes_what_was_fixed_and_touches_nothing_else(suite: Suite) -> None:
    fill(suite.root, 20)
    for name in ("a", "b"):
        (suite.root / f"{name}.png").write_bytes(b"no picture")
    done = await suite.run_files(labels={"set": "1"})
    assert (done.counts.created, done.counts.failed) == (20, 2)
    (suite.root / "a.png").write_bytes(png(500))
    (suite.root / "0.png").write_bytes(png(501))
    retry = await suite.retry(done)
    assert retry.retry_of == done.name
    ended = await suite.finish(retry)
    assert (await suite.retry(done)).name == retry.name
    assert (ended.counts.total, ended.counts.created, ended.counts.failed) == (2, 1, 1)
    assert dict(ended.labels) == {"set": "1"}
    (failure,) = await suite.failures(retry)
    assert failure.item == "b.png"
    assert await suite.get(done) == done
    assert set(suite.peers.writes.values()) == {1}
    (suite.root / "b.png").write_bytes(png(502))
    last = await suite.finish(await suite.retry(ended))
    assert (last.state, last.counts.total, last.counts.created) == (SUCCEEDED, 1, 1)
    with caught(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_JOB_STATE"):
        await suite.retry(last)


async def test_given_bytes_are_there_for_the_next_try(
    settings: IngestSettings, peers: Peers
) -> None:
    async with running_ingest(settings, peers) as suite:
        bad = png(1, filler=POISON)
        peers.refuse_with = {}
        done = await suite.finish(await suite.create(given(image(bad, "bad"), image(png(2), "x"))))
        assert (done.counts.created, done.counts.failed) == (1, 1)
    async with running_ingest(settings, peers) as suite:
        retry = await suite.finish(await suite.retry(done))
        assert (retry.counts.total, retry.counts.failed) == (1, 1)
        (failure,) = await suite.failures(retry)
        assert (failure.item, failure.step) == ("bad", "encode")
    assert await count_spools(settings) == 2


async def count_spools(settings: IngestSettings) -> int:
    """Return how many jobs' given bytes are kept."""
    if settings.database_url is None:
        return len(list((settings.data_dir / "spool").iterdir()))
    url = settings.database_url.get_secret_value()
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute("SELECT count(DISTINCT job) FROM spool")
        return sum(count for (count,) in await cursor.fetchall())


async def test_a_job_that_succeeded_keeps_no_bytes(suite: Suite) -> None:
    await suite.finish(await suite.create(given(image(png(1), "a"))))
    assert await count_spools(suite.settings) == 0


async def test_a_cancelled_job_is_retried_from_where_it_was(suite: Suite) -> None:
    job = await paused_in_the_middle(suite, 100)
    await suite.cancel(job)
    retry = await suite.finish(await suite.retry(job))
    written = (await suite.get(job)).counts.created
    assert (retry.state, retry.counts.total) == (SUCCEEDED, 100 - written)
    assert len(suite.peers.items()) == 100
    assert set(suite.peers.writes.values()) == {1}


async def test_an_archive_that_was_broken_is_opened_again(suite: Suite) -> None:
    fill(suite.root, 3)
    whole = make_zip({f"{n}.png": png(100 + n) for n in range(4)})
    (suite.root / "x.zip").write_bytes(whole[:-10])
    done = await suite.run_files()
    assert (done.counts.created, done.counts.failed) == (3, 1)
    (suite.root / "x.zip").write_bytes(whole)
    retry = await suite.finish(await suite.retry(done))
    assert (retry.counts.total, retry.counts.created) == (4, 4)


async def test_a_second_item_with_a_key_fails_again(suite: Suite) -> None:
    fill(suite.root / "a", 1)
    fill(suite.root / "b", 1, start=0)
    uris = [f"{suite.root.as_uri()}/{folder}/" for folder in "ab"]
    done = await suite.run_files(*uris)
    assert (done.counts.created, done.counts.failed) == (1, 1)
    retry = await suite.finish(await suite.retry(done))
    assert (retry.counts.total, retry.counts.failed) == (1, 1)
    assert set(suite.peers.writes.values()) == {1}


async def test_items_are_listed_page_by_page(suite: Suite) -> None:
    fill(suite.root, 5)
    (suite.root / "bad.png").write_bytes(b"no picture")
    (suite.root / "note.bin").write_bytes(b"\0\1")
    done = await suite.run_files()
    seen: list[job_pb2.JobItem] = []
    request = pb.ListJobItemsRequest(name=done.name, page_size=3)
    for _ in range(3):
        page = await suite.jobs.ListJobItems(request)
        seen += page.items
        request.page_token = page.next_page_token
    assert not request.page_token
    assert {each.item: each.outcome for each in seen} == {
        **{f"{n}.png": Item.OUTCOME_CREATED for n in range(5)},
        "bad.png": Item.OUTCOME_FAILED,
        "note.bin": Item.OUTCOME_SKIPPED,
    }
    by_key = {each.item: each for each in seen}
    assert by_key["0.png"].entities == 1
    assert by_key["0.png"].asset.startswith("assets/")
    assert by_key["0.png"].attempts == 1
    assert by_key["0.png"].source_uri == (suite.root / "0.png").as_uri()
    assert [each.item for each in await suite.items(done, Item.OUTCOME_FAILED)] == ["bad.png"]
    assert await suite.items(done, Item.OUTCOME_UNSPECIFIED) == []
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await suite.jobs.ListJobItems(pb.ListJobItemsRequest(name=done.name, page_token="x"))


@pytest.mark.parametrize("call", ["PauseJob", "ResumeJob", "RetryJob"])
async def test_states_in_which_a_call_makes_no_sense(suite: Suite, call: str) -> None:
    fill(suite.root, 1)
    done = await suite.run_files()
    with caught(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_JOB_STATE"):
        await getattr(suite.jobs, call)(getattr(pb, f"{call}Request")(name=done.name))


async def test_a_job_with_a_pace_comes_to_its_end(suite: Suite) -> None:
    fill(suite.root, 30)
    job = await suite.create_files(options=job_pb2.Options(max_items_per_second=20))
    await assert_eventually(lambda: suite.peers.encoded > 0)
    await suite.pause(job)
    await suite.resume(job)
    done = await suite.finish(job)
    assert (done.state, done.counts.created) == (SUCCEEDED, 30)
    assert done.options.max_items_per_second == 20


async def test_succeeded_means_found_by_a_search(suite: Suite) -> None:
    fill(suite.root, 40)
    suite.peers.hidden = True
    job = await suite.create_files()
    await assert_eventually(lambda: suite.peers.calls["Search"] > 2)
    now = await suite.get(job)
    assert (now.state, now.counts.created, now.counts.total) == (RUNNING, 40, 40)
    suite.peers.hidden = False
    done = await suite.finish(job)
    assert done.state == SUCCEEDED
    searches = suite.peers.calls["Search"]
    assert (await suite.run_files()).counts.unchanged == 40
    assert suite.peers.calls["Search"] == searches, "nothing was written"


@pytest.mark.parametrize("how", ["hidden", "away"])
async def test_a_job_ends_though_no_search_finds_it(
    settings: IngestSettings, peers: Peers, how: str
) -> None:
    fill(settings.roots[0], 1)
    peers.hidden = how == "hidden"
    if how == "away":
        peers.failures["Search"] = [InternalError("broken")]
    jobs = settings.jobs.model_copy(update={"visible_timeout": timedelta(milliseconds=300)})
    async with running_ingest(settings.model_copy(update={"jobs": jobs}), peers) as suite:
        assert (await suite.run_files()).state == SUCCEEDED
    assert peers.calls["Search"]
