"""kill -9 of the ingest process, judged by what the peers remember and what the client was told."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path

import grpc.aio
import pytest

from lookalike.asset.v1 import asset_service_pb2
from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import entity_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import assert_eventually, loopback
from tests.support.ingest_peers import COLLECTION, Peers
from tests.support.ingest_process import Caller, Victim, victim
from tests.support.pictures import fill, png
from tests.support.zips import make_zip

FINAL = {job_pb2.Job.STATE_SUCCEEDED, job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES}


def done_of(counts: job_pb2.ItemCounts) -> int:
    return counts.created + counts.updated + counts.unchanged + counts.skipped + counts.failed


async def test_jobs_survive_kill_9_at_any_moment(peers: Peers, root: Path, tmp_path: Path) -> None:
    """Killed in the middle of expansion, encoding, writing and recording, seven times over."""
    fill(root, 300)
    fill(root / "more", 100, start=1000)
    (root / "bad.png").write_bytes(b"no picture")
    (root / "x.zip").write_bytes(make_zip({f"{n}.png": png(5000 + n) for n in range(50)}))
    given = [(f"given-{n}", png(9000 + n)) for n in range(30)]
    for number in range(300):  # of an earlier job, when the photos had two parts
        name = f"{COLLECTION}/entities/stale-{number}"
        stale = entity_pb2.Entity(name=name, item=f"{number}.png", generation=7)
        peers.entities["", name] = stale
    async with victim(peers, root, tmp_path / "data") as service:
        killer = Killer(service, peers)
        async with open_channel(loopback(service.port)) as channel:
            caller = Caller(channel)
            acknowledged = [
                await caller.create(
                    job_pb2.Job(
                        collection=COLLECTION,
                        request_id="folder",
                        files=job_pb2.FilesSource(uris=[f"{root.as_uri()}/"]),
                    )
                )
            ]
            request = job_pb2.Job(collection=COLLECTION, request_id="given")
            for key, data in given:
                request.items.items.add(item=key).content.image = data
            acknowledged.append(await caller.create(request))
            peers.on_call = killer.on_call
            seen = 0
            while True:
                await killer.revive()
                found = [await caller.get_or_none(job.name) for job in acknowledged]
                now = [job for job in found if job is not None]
                if len(now) < len(found):
                    continue
                progress = sum(done_of(job.counts) for job in now)
                assert progress >= seen, "progress fell"
                seen = progress
                if all(job.state in FINAL for job in now):
                    break
            peers.on_call = None
            folder, items = now
    assert killer.kills == len(Killer.MOMENTS)
    assert (folder.counts.total, folder.counts.created, folder.counts.failed) == (451, 450, 1)
    assert (items.counts.total, items.counts.created) == (30, 30)
    assert peers.items()["0.png"] == 1
    assert len(peers.items()) == 480
    assert set(peers.items().values()) == {1}
    assert set(peers.writes.values()) == {1}


class Killer:
    """Kills at chosen calls of the peers, and starts again."""

    MOMENTS = (
        ("GetCollection", 1),
        ("Encode", 1),
        ("UpsertEntities", 2),
        ("DeleteEntities", 2),
        ("BatchGetEntities", 3),
        ("Encode", 6),
        ("UpsertEntities", 3),
    )

    def __init__(self, service: Victim, peers: Peers) -> None:
        self._service = service
        self._peers = peers
        self._waiting = list(self.MOMENTS)
        self._start = dict(peers.calls)
        self.kills = 0

    def on_call(self, rpc: str) -> None:
        """Kill before the answer is given, so that nobody knows whether it was done."""
        if not self._waiting or self._service.dead:
            return
        wanted, number = self._waiting[0]
        if rpc == wanted and self._peers.calls[rpc] - self._start.get(rpc, 0) >= number:
            self._waiting.pop(0)
            self._start = dict(self._peers.calls)
            self.kills += 1
            self._service.signal_kill()

    async def revive(self) -> None:
        if self._service.dead or self._service.killed:
            await self._service.kill()
            await self._service.start()


async def test_an_item_that_kills_the_service_is_given_up(
    peers: Peers, root: Path, tmp_path: Path
) -> None:
    """Its batch is tried, then its neighbours one by one; it alone ends as a failure."""
    fill(root, 20)
    (root / "killer.png").write_bytes(png(1, filler=b"killer"))
    async with victim(peers, root, tmp_path / "data") as service:
        peers.on_image = {b"killer": service.signal_kill}
        async with open_channel(loopback(service.port)) as channel:
            caller = Caller(channel)
            job = await caller.create(
                job_pb2.Job(
                    collection=COLLECTION,
                    files=job_pb2.FilesSource(uris=[f"{root.as_uri()}/"]),
                )
            )
            kills = 0
            while (now := await caller.get_or_none(job.name)) is None or now.state not in FINAL:
                if service.killed:
                    kills += 1
                    assert kills < 12, "it loops for ever"
                    await service.kill()
                    await service.start()
            failures = await caller.jobs.ListJobFailures(pb.ListJobFailuresRequest(name=job.name))
    assert (now.counts.created, now.counts.failed, now.counts.total) == (20, 1, 21)
    (failure,) = failures.failures
    assert failure.item == "killer.png"
    assert failure.attempts == kills == 5
    assert failure.error.code == grpc.StatusCode.INTERNAL.value[0]
    assert set(peers.items().values()) == {1}


async def test_an_upload_goes_on_behind_what_was_committed(
    peers: Peers, root: Path, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 4096 * 3
    digest = hashlib.sha256(data).hexdigest()
    size = 256 * 1024
    async with victim(peers, root, tmp_path / "data") as service:
        async with open_channel(loopback(service.port)) as channel:
            caller = Caller(channel)
            upload = await caller.assets.StartUpload(
                asset_service_pb2.StartUploadRequest(size_bytes=len(data), sha256=digest),
                wait_for_ready=True,
            )
            sending = caller.assets.UploadChunk()
            sent = 0
            while sent < len(data) // 2:
                await sending.write(
                    asset_service_pb2.UploadChunkRequest(
                        upload=upload.name, write_offset=sent, data=data[sent : sent + size]
                    )
                )
                sent += size
            request = asset_service_pb2.GetUploadRequest(name=upload.name)

            async def half_committed() -> bool:
                return (await caller.assets.GetUpload(request)).committed_bytes == sent

            await assert_eventually(half_committed)
            await service.kill()
            await service.start()
            kept = (await caller.assets.GetUpload(request, wait_for_ready=True)).committed_bytes
            assert kept == sent
            rest = [
                asset_service_pb2.UploadChunkRequest(
                    upload=upload.name, write_offset=start, data=data[start : start + size]
                )
                for start in range(kept, len(data), size)
            ]
            assert (await caller.assets.UploadChunk(iter(rest))).asset == f"assets/{digest}"
            read = caller.assets.ReadAsset(
                asset_service_pb2.ReadAssetRequest(name=f"assets/{digest}")
            )
            assert b"".join([reply.data async for reply in read]) == data
        assert await service.stop() == 0


@pytest.mark.parametrize("moment", ["at once", "busy"])
async def test_stopping_gracefully_ends_with_zero(
    peers: Peers, root: Path, tmp_path: Path, moment: str
) -> None:
    fill(root, 100)
    async with (
        victim(peers, root, tmp_path / "data") as service,
        open_channel(loopback(service.port)) as channel,
    ):
        caller = Caller(channel)
        job = await caller.create(
            job_pb2.Job(
                collection=COLLECTION,
                files=job_pb2.FilesSource(uris=[f"{root.as_uri()}/"]),
            )
        )
        watch = caller.jobs.WatchJob(pb.WatchJobRequest(name=job.name))
        assert (await anext(aiter(watch))).job.name == job.name
        if moment == "busy":
            peers.gates["Encode"] = asyncio.Event()
            await assert_eventually(lambda: peers.calls["Encode"] > 0, 20)
        stopped = time.monotonic()
        assert await service.stop() == 0
        assert time.monotonic() - stopped < 10, "a follower held it up"
        for gate in peers.gates.values():
            gate.set()
        await service.start()

        async def ended() -> bool:
            return (await caller.get(job.name)).state == job_pb2.Job.STATE_SUCCEEDED

        await assert_eventually(ended, 30)
        assert await service.stop() == 0
