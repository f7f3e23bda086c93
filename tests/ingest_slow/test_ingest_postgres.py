"""Replicas on one PostgreSQL: killed for good, restarted in turn, and their database as well."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike_common.testing import assert_eventually
from lookalike_ingest.rpc.ingest import SERVICE
from tests.support.ingest_database import PreparedPostgres
from tests.support.ingest_peers import COLLECTION, POISON, Peers
from tests.support.ingest_process import Caller, Victim
from tests.support.ingest_replicas import Replicas, replicas
from tests.support.milvus_process import stop_all_threads
from tests.support.pictures import fill, png
from tests.support.postgres_server import started_postgres

FINAL = {job_pb2.Job.STATE_SUCCEEDED, job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES}
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ROUNDS = int(os.environ.get("ROUNDS", "5"))


@pytest.fixture(scope="module")
def database() -> Iterator[PreparedPostgres]:
    """A server that these tests kill."""
    with started_postgres() as server:
        yield PreparedPostgres(server)


@pytest.fixture
async def cluster(
    peers: Peers, root: Path, tmp_path: Path, database: PreparedPostgres
) -> AsyncIterator[Replicas]:
    async with replicas(peers, root, tmp_path, database.create_database()) as started:
        yield started


async def create(caller: Caller, root: Path, request_id: str = "once") -> job_pb2.Job:
    source = job_pb2.FilesSource(uris=[f"{root.as_uri()}/"])
    return await caller.create(
        job_pb2.Job(collection=COLLECTION, request_id=request_id, files=source)
    )


async def ended(caller: Caller, job: job_pb2.Job, within: float = 90) -> job_pb2.Job:
    """Return the job as soon as it is final."""
    last = job_pb2.Job()

    async def final() -> bool:
        if found := await caller.get_or_none(job.name):
            last.CopyFrom(found)
        return last.state in FINAL

    await assert_eventually(final, within)
    return last


def counts(job: job_pb2.Job) -> tuple[int, int, int]:
    return job.counts.total, job.counts.created, job.counts.failed


async def test_the_work_of_a_worker_that_died_goes_on_elsewhere(
    cluster: Replicas, peers: Peers, root: Path
) -> None:
    fill(root, 400)
    (root / "poison.png").write_bytes(png(1, filler=POISON))
    gate = peers.gates["Encode"] = asyncio.Event()
    peers.open_after["Encode"] = 12
    await cluster.start("front", "api")
    for name in ("one", "two"):
        await cluster.start(name, "worker")
    caller = await cluster.call("front")
    job = await create(caller, root)
    assert counts(job) == (0, 0, 0)
    await assert_eventually(lambda: peers.calls["Encode"] > 12, 60)
    dead = await cluster.busy()
    await cluster[dead].kill()
    gate.set()
    done = await ended(caller, job)
    assert counts(done) == (401, 400, 1)
    assert set(peers.items().values()) == {1}
    assert set(peers.writes.values()) == {1}

    async def nothing_is_left_pending() -> bool:
        return not await cluster.claims()

    await assert_eventually(nothing_is_left_pending, 30)


async def test_a_rolling_restart_loses_nothing_and_wastes_no_attempt(
    cluster: Replicas, peers: Peers, root: Path
) -> None:
    fill(root, 300)
    (root / "poison.png").write_bytes(png(1, filler=POISON))
    gate = peers.gates["Encode"] = asyncio.Event()
    peers.open_after["Encode"] = 4
    for name in ("one", "two"):
        await cluster.start(name, "all")
    caller = await cluster.call("one")
    job = await create(caller, root)
    for round_ in range(2):
        for name, other in (("one", "two"), ("two", "one")):
            await assert_eventually(lambda: peers.calls["Encode"] > peers.open_after["Encode"], 60)
            peers.open_after["Encode"] = peers.calls["Encode"] + 4
            gate.set()  # those that wait go on, later ones wait again
            gate = peers.gates["Encode"] = asyncio.Event()
            assert await cluster[name].stop() == 0
            found = await (await cluster.call(other)).get(job.name)
            assert found.state == job_pb2.Job.STATE_RUNNING, round_
            await cluster[name].start()
    gate.set()
    done = await ended(caller, job)
    assert counts(done) == (301, 300, 1)
    assert set(peers.items().values()) == {1}
    assert set(peers.writes.values()) == {1}
    failures = await caller.jobs.ListJobFailures(pb.ListJobFailuresRequest(name=job.name))
    assert [each.attempts for each in failures.failures] == [1]


async def test_a_worker_given_up_for_dead_does_no_harm(
    cluster: Replicas, peers: Peers, root: Path
) -> None:
    """It stands still, loses its lock as behind a broken network, and goes on much later."""
    fill(root, 200)
    gate = peers.gates["Encode"] = asyncio.Event()
    peers.open_after["Encode"] = 6
    await cluster.start("one", "all")
    caller = await cluster.call("one")
    job = await create(caller, root)
    await assert_eventually(lambda: peers.calls["Encode"] > 6, 60)
    stop_all_threads(cluster["one"].pid)
    await cluster.query(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await cluster.start("two", "all")
    gate.set()
    done = await ended(await cluster.call("two"), job)
    assert counts(done) == (200, 200, 0)
    os.kill(cluster["one"].pid, signal.SIGCONT)
    again = await create(caller, root, "again")
    assert (await ended(caller, again)).counts.unchanged == 200
    assert await caller.get(job.name) == done
    assert set(peers.items().values()) == {1}
    assert await cluster["one"].stop() == 0


async def test_bytes_given_to_one_replica_are_read_by_another(
    cluster: Replicas, peers: Peers
) -> None:
    await cluster.start("front", "api")
    caller = await cluster.call("front")
    request = job_pb2.Job(collection=COLLECTION, request_id="given")
    for number in range(20):
        request.items.items.add(item=f"{number}").content.image = png(number)
    job = await caller.create(request)
    await cluster["front"].kill()
    await cluster.start("back", "worker")
    await assert_eventually(lambda: len(peers.items()) == 20, 60)
    await cluster["front"].start()
    assert counts(await ended(caller, job)) == (20, 20, 0)


async def test_a_killed_database_interrupts_and_no_more(
    cluster: Replicas, peers: Peers, root: Path, database: PreparedPostgres
) -> None:
    fill(root, 300)
    gate = peers.gates["Encode"] = asyncio.Event()
    peers.open_after["Encode"] = 6
    await cluster.start("front", "api")
    await cluster.start("back", "worker")
    caller = await cluster.call("front")
    job = await create(caller, root)
    await assert_eventually(lambda: peers.calls["Encode"] > 6, 60)
    database.server.kill()
    gate.set()

    async def unwell() -> bool:
        return (
            await health(cluster["front"], SERVICE) == await health(cluster["back"]) == NOT_SERVING
        )

    await assert_eventually(unwell, 60)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.jobs.GetJob(pb.GetJobRequest(name=job.name), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    database.server.start()
    assert counts(await ended(caller, job)) == (300, 300, 0)
    assert set(peers.items().values()) == {1}

    async def well() -> bool:
        return NOT_SERVING not in {
            await health(cluster["front"], SERVICE),
            await health(cluster["back"]),
        }

    await assert_eventually(well, 60)


async def health(replica: Victim, service: str = "") -> int:
    """Ask on a channel that does not look at the health itself."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{replica.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # it ships no types
        request = health_pb2.HealthCheckRequest(service=service)
        return int((await stub.Check(request, wait_for_ready=True, timeout=10)).status)


async def reached(peers: Peers, calls: int, caller: Caller, job: job_pb2.Job) -> None:
    """Return at a call of the encoder, or when the job is final before that."""

    async def there() -> bool:
        found = await caller.get_or_none(job.name)
        return peers.calls["Encode"] >= calls or (found is not None and found.state in FINAL)

    await assert_eventually(there, 60)


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_rounds_of_kills_at_random_moments(
    cluster: Replicas, peers: Peers, root: Path, database: PreparedPostgres, seed: int
) -> None:
    """Workers end in every way, and so does the database; one of the workers never comes back."""
    chance = random.Random(seed)
    fill(root, 400)
    bad = [f"bad-{number}" for number in range(20)]
    for name in bad:
        (root / f"{name}.png").write_bytes(png(1, filler=POISON + name.encode()))
    for name in ("one", "two", "three"):
        await cluster.start(name, "all" if name == "one" else "worker")
    caller = await cluster.call("one")
    job = await create(caller, root)
    for last in (False, False, False, True):
        moment = peers.calls["Encode"] + chance.randrange(1, 12)
        await reached(peers, moment, caller, job)
        victim = cluster[chance.choice(["one", "two", "three"])]
        match chance.choice(["kill", "kill", "stop", "database"]):
            case "kill":
                await victim.kill()
            case "stop":
                # One that is still starting ends by the signal itself.
                assert await victim.stop() in {0, -signal.SIGTERM}
            case "database":
                database.server.kill()
                await asyncio.sleep(chance.random())
                database.server.start()
        if victim.dead and not (last and victim is not cluster["one"]):
            await victim.start()
    final = await ended(caller, job, within=120)
    assert counts(final) == (420, 400, 20)
    assert set(peers.items().values()) == {1}
    assert set(peers.writes.values()) == {1}
    failures = await caller.jobs.ListJobFailures(pb.ListJobFailuresRequest(name=job.name))
    assert sorted(each.item for each in failures.failures) == sorted(f"{name}.png" for name in bad)
