"""Sources that are followed: what vanished from them is removed, what is new is found."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from lookalike.ingest.v1 import job_pb2
from lookalike_common.errors import BackendUnavailableError
from lookalike_common.testing import assert_eventually
from lookalike_ingest.settings import IngestSettings
from tests.integration.ingest.conftest import Suite, caught, running_ingest
from tests.integration.ingest.test_ingest_jobs import given, image
from tests.support.ingest_peers import Peers
from tests.support.pictures import fill, png
from tests.support.zips import make_zip

SUCCEEDED = job_pb2.Job.STATE_SUCCEEDED
SYNC = job_pb2.Options(sync=True)


async def sync(suite: Suite, *uris: str) -> job_pb2.Job:
    return await suite.run_files(*uris, options=SYNC)


async def test_what_vanished_from_a_source_is_removed(suite: Suite) -> None:
    fill(suite.root, 5)
    await suite.run_files()
    (suite.root / "3.png").unlink()
    (suite.root / "4.png").unlink()
    fill(suite.root, 1, start=9)
    done = await sync(suite)
    assert (done.state, done.counts.created, done.counts.unchanged) == (SUCCEEDED, 1, 3)
    assert done.entities.removed == 2
    assert sorted(suite.peers.items()) == ["0.png", "1.png", "2.png", "9.png"]
    calls = suite.peers.calls["DeleteEntities"]
    again = await sync(suite)
    assert (again.counts.unchanged, again.entities.removed) == (4, 0)
    assert suite.peers.calls["DeleteEntities"] == calls, "what was removed is not removed again"


async def test_a_job_without_sync_removes_nothing(suite: Suite) -> None:
    fill(suite.root, 2)
    await suite.run_files()
    (suite.root / "1.png").unlink()
    assert (await suite.run_files()).entities.removed == 0
    assert len(suite.peers.items()) == 2
    assert (await sync(suite)).entities.removed == 1, "the one before the last counts, too"


async def test_what_a_cancelled_job_missed_is_not_forgotten(suite: Suite) -> None:
    fill(suite.root, 3)
    await suite.run_files()
    (suite.root / "0.png").unlink()
    gate = suite.peers.gates["BatchGetEntities"] = asyncio.Event()
    job = await suite.create_files(options=SYNC)
    await assert_eventually(lambda: suite.peers.calls["BatchGetEntities"] > 1)
    await suite.cancel(job)
    gate.set()
    assert len(suite.peers.items()) == 3
    assert (await sync(suite)).entities.removed == 1


async def test_other_sources_are_left_alone(suite: Suite) -> None:
    fill(suite.root / "a", 2)
    fill(suite.root / "b", 3, start=1)
    first, second = (f"{suite.root.as_uri()}/{folder}/" for folder in "ab")
    await suite.run_files(first)
    await suite.run_files(second)
    for name in ("0.png", "1.png"):
        (suite.root / "a" / name).unlink()
    done = await sync(suite, first)
    assert done.entities.removed == 1, "1.png is an item of the other source, too"
    assert sorted(suite.peers.items()) == ["1.png", "2.png", "3.png"]


async def test_a_dry_run_of_another_source_keeps_nothing(suite: Suite) -> None:
    fill(suite.root, 2)
    await suite.run_files()
    dry = job_pb2.Options(dry_run=True)
    await suite.run_files((suite.root / "1.png").as_uri(), options=dry)
    (suite.root / "1.png").unlink()
    assert (await sync(suite)).entities.removed == 1


@pytest.mark.parametrize("broken", ["archive", "folder"])
async def test_nothing_is_removed_when_listing_failed(suite: Suite, broken: str) -> None:
    fill(suite.root, 2)
    more = suite.root / "more"
    if broken == "archive":
        (suite.root / "x.zip").write_bytes(make_zip({"y.png": png(9)}))
    else:
        fill(more, 1, start=9)
    await suite.run_files()
    (suite.root / "1.png").unlink()
    if broken == "archive":
        (suite.root / "x.zip").write_bytes(make_zip({"y.png": png(9)})[:-10])
    else:
        (more / "9.png").unlink()
        (more / "out.png").symlink_to("/etc/passwd")
    done = await sync(suite)
    assert (done.counts.failed, done.entities.removed) == (1, 0)
    assert len(suite.peers.items()) == 3


async def test_removing_waits_for_search_and_survives_a_restart(
    settings: IngestSettings, peers: Peers
) -> None:
    async with running_ingest(settings, peers) as suite:
        fill(suite.root, 3)
        await suite.run_files()
        for number in range(3):
            (suite.root / f"{number}.png").unlink()
        peers.failures["DeleteEntities"] = [BackendUnavailableError("away") for _ in range(9999)]
        job = await suite.create_files(options=SYNC)
        await waits_until(suite, job, lambda now: now.state == job_pb2.Job.STATE_WAITING)
    peers.failures.clear()
    async with running_ingest(settings, peers) as suite:
        done = await suite.finish(job)
    assert (done.state, done.counts.total, done.entities.removed) == (SUCCEEDED, 0, 3)
    assert not peers.items()


async def test_pausing_does_not_make_items_vanish(suite: Suite) -> None:
    fill(suite.root, 40)
    await suite.run_files()
    gate = suite.peers.gates["BatchGetEntities"] = asyncio.Event()
    job = await suite.create_files(options=SYNC)
    await assert_eventually(lambda: suite.peers.calls["BatchGetEntities"] > 2)
    await suite.pause(job)
    gate.set()
    await suite.resume(job)
    assert (await suite.finish(job)).entities.removed == 0
    assert len(suite.peers.items()) == 40


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (SYNC, "job.options.sync"),
        (job_pb2.Options(watch_interval=Duration(seconds=1)), "job.options.watch_interval"),
    ],
)
async def test_given_items_are_no_source_to_follow(
    suite: Suite, options: job_pb2.Options, field: str
) -> None:
    job = given(image(png(1)))
    job.options.CopyFrom(options)
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field):
        await suite.create(job)


def watching() -> job_pb2.Options:
    return job_pb2.Options(watch_interval=Duration(seconds=1), sync=True)


async def waits_until(
    suite: Suite, job: job_pb2.Job, check: Callable[[job_pb2.Job], bool]
) -> job_pb2.Job:
    now = job

    async def reached() -> bool:
        nonlocal now
        now = await suite.get(job)
        return check(now)

    asked: Callable[[], Awaitable[bool]] = reached
    await assert_eventually(asked, 30)
    return now


async def test_a_watched_source_is_looked_at_again_and_again(
    settings: IngestSettings, peers: Peers
) -> None:
    async with running_ingest(settings, peers) as suite:
        root = suite.root
        fill(root, 3)
        (root / "bad.png").write_bytes(b"no picture")
        job = await suite.create_files(options=watching())
        now = await waits_until(suite, job, lambda now: now.state_reason == "watching")
        assert (now.state, now.counts.created, now.counts.failed) == (2, 3, 1)
        assert not now.counts.HasField("total")
        first = now.generation
        replace(root / "0.png", png(500))
        fill(root, 2, start=10)
        (root / "1.png").unlink()
        now = await waits_until(suite, job, lambda now: now.entities.removed == 1)
        counts = now.counts
        assert (counts.created, counts.updated, counts.failed) == (5, 1, 1)
        assert now.generation > first
        assert "1.png" not in peers.items()
    async with running_ingest(settings, peers) as suite:
        fill(root, 1, start=20)
        fill(root, 1, start=1)
        now = await waits_until(suite, job, lambda now: now.counts.created == 7)
        encoded = peers.encoded
        cancelled = await suite.cancel(job)
    counts = cancelled.counts
    assert cancelled.state == job_pb2.Job.STATE_CANCELLED
    assert counts.total == counts.created + counts.updated + counts.failed + counts.skipped == 9
    assert encoded == 3 + 1 + 2 + 2, "nothing is encoded that did not change"
    assert set(peers.items().values()) == {1}


def replace(file: Path, data: bytes) -> None:
    """Write another content, as if some time later."""
    file.write_bytes(data)
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


async def test_a_watching_job_is_paused_between_looks(suite: Suite) -> None:
    fill(suite.root, 1)
    job = await suite.create_files(options=watching())
    await waits_until(suite, job, lambda now: now.state_reason == "watching")
    assert (await suite.pause(job)).state == job_pb2.Job.STATE_PAUSED
    fill(suite.root, 1, start=1)
    await suite.resume(job)
    now = await waits_until(suite, job, lambda now: now.counts.created == 2)
    assert now.entities.removed == 0
    assert len(suite.peers.items()) == 2
