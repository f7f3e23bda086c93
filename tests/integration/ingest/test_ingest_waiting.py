"""The encoder or the search service is away, full or slow: jobs wait, and waste nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ByteSize

from lookalike.ingest.v1 import job_pb2
from lookalike_common.errors import (
    BackendUnavailableError,
    CollectionNotReadyError,
    EncoderNotReadyError,
    InternalError,
    InvalidArgumentError,
    LookalikeError,
    OverloadedError,
    StorageFullError,
)
from lookalike_common.testing import assert_eventually, free_port, loopback
from lookalike_ingest.settings import AssetSettings, IngestSettings
from tests.integration.ingest.conftest import FAST, SERVER, Suite, running_ingest
from tests.support.ingest_peers import POISON, Peers, running_encoder, running_search
from tests.support.pictures import fill, png

SUCCEEDED = job_pb2.Job.STATE_SUCCEEDED
WAITING = job_pb2.Job.STATE_WAITING


async def test_a_job_waits_for_services_that_come_later(
    peers: Peers, root: Path, tmp_path: Path
) -> None:
    fill(root, 20)
    search_port, encoder_port = free_port(), free_port()
    settings = IngestSettings(
        server=SERVER,
        data_dir=tmp_path / "data",
        roots=(root,),
        encoder=loopback(encoder_port),
        search=loopback(search_port),
        jobs=FAST,
        assets=AssetSettings(min_free_bytes=ByteSize(0)),
    )
    async with running_ingest(settings, peers) as suite:
        job = await suite.create_files()
        await waits_for(suite, job, "search: ")
        async with running_search(peers, search_port):
            await waits_for(suite, job, "encoder: ")
            async with running_encoder(peers, encoder_port):
                done = await suite.finish(job)
    assert done.state == SUCCEEDED
    assert (done.counts.created, done.state_reason) == (20, "")


async def waits_for(suite: Suite, job: job_pb2.Job, what: str) -> None:
    async def waits() -> bool:
        now = await suite.get(job)
        return now.state == WAITING and now.state_reason.startswith(what)

    await assert_eventually(waits, 20)


@pytest.mark.parametrize(
    "error",
    [
        BackendUnavailableError("away"),
        OverloadedError("full", retry_after=timedelta(milliseconds=20)),
        EncoderNotReadyError("loads"),
        CollectionNotReadyError("is loaded"),
        StorageFullError("disk full"),
    ],
)
@pytest.mark.parametrize(
    "rpc", ["GetCollection", "BatchGetEntities", "Encode", "UpsertEntities", "DeleteEntities"]
)
async def test_what_passes_by_itself_is_waited_for(
    suite: Suite, rpc: str, error: LookalikeError
) -> None:
    fill(suite.root, 40)
    if rpc == "GetCollection" and not isinstance(error, BackendUnavailableError):
        suite.peers.failures[rpc] = [error] * 3
    else:
        suite.peers.failures[rpc] = [error] * 4
    done = await suite.run_files()
    assert done.state == SUCCEEDED
    assert done.counts.created == 40
    assert set(suite.peers.writes.values()) == {1}


async def test_a_request_refused_as_a_whole_costs_only_the_guilty_item(suite: Suite) -> None:
    """As when validation or a defect of the encoder refuses everything together."""
    fill(suite.root, 24)
    (suite.root / "guilty.png").write_bytes(png(1, filler=b"guilty"))
    suite.peers.refuse_with = {b"guilty": InvalidArgumentError("one is wrong")}
    done = await suite.run_files()
    assert (done.counts.created, done.counts.failed) == (24, 1)
    (failure,) = await suite.failures(done)
    assert (failure.item, failure.step) == ("guilty.png", "encode")


async def test_an_item_that_kills_the_encoder_is_given_up(suite: Suite) -> None:
    """Every request with it ends as UNAVAILABLE, although the encoder answers in between."""
    fill(suite.root, 2)
    (suite.root / "killer.png").write_bytes(png(1, filler=b"killer"))
    suite.peers.refuse_with = {b"killer": BackendUnavailableError("connection reset")}
    done = await suite.run_files()
    assert (done.counts.created, done.counts.failed) == (2, 1)
    (failure,) = await suite.failures(done)
    assert failure.item == "killer.png"


async def test_a_defect_of_a_peer_is_one_rows_problem_too(suite: Suite) -> None:
    fill(suite.root, 6)
    (suite.root / "odd.png").write_bytes(png(1, filler=b"odd"))
    suite.peers.refuse_with = {b"odd": InternalError("a stack trace nobody should see")}
    done = await suite.run_files()
    (failure,) = await suite.failures(done)
    assert failure.item == "odd.png"
    assert "stack trace" not in failure.error.message


async def test_cancelling_ends_the_waiting(suite: Suite) -> None:
    fill(suite.root, 5)
    suite.peers.failures["Encode"] = [BackendUnavailableError("away")] * 10_000
    job = await suite.create_files()
    await waits_for(suite, job, "encoder: ")
    cancelled = await suite.cancel(job)
    assert cancelled.state == job_pb2.Job.STATE_CANCELLED
    calls = 0

    async def quiet() -> bool:
        nonlocal calls
        before, calls = calls, suite.peers.calls["Encode"]
        return before == calls

    await assert_eventually(quiet, interval=0.2)


async def test_a_restart_goes_on_where_it_stopped(settings: IngestSettings, peers: Peers) -> None:
    fill(settings.roots[0], 150)
    (settings.roots[0] / "poison.png").write_bytes(png(1, filler=POISON))
    gate = peers.gates["Encode"] = asyncio.Event()
    peers.open_after["Encode"] = 9
    async with running_ingest(settings, peers) as suite:
        job = await suite.create_files(request_id="one")

        async def is_half_done() -> bool:
            return (await suite.get(job)).counts.created > 0

        await assert_eventually(is_half_done)
    gate.set()
    async with running_ingest(settings, peers) as suite:
        done = await suite.finish(job)
        failures = await suite.failures(done)
        assert await suite.create_files(request_id="one") == await suite.get(done)
    assert (done.counts.created, done.counts.failed, done.counts.total) == (150, 1, 151)
    assert [failure.attempts for failure in failures] == [1]
    assert set(peers.items().values()) == {1}
    assert set(peers.writes.values()) == {1}
