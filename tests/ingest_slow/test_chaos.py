"""Rounds of kill -9 over all programs at random moments of a mixed job.

What must be there is known from the test's own record, and from a round in which nobody is killed;
the services' counts are only compared with it. `make test-chaos ROUNDS=50` for many rounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict

from lookalike.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc, job_pb2
from lookalike.search.v1 import (
    collection_pb2,
    entity_pb2,
    entity_service_pb2,
    entity_service_pb2_grpc,
)
from lookalike_client import Client, LookalikeError, UnavailableError
from lookalike_common.channels import open_channel
from lookalike_common.settings import TargetSettings
from lookalike_common.testing import assert_eventually
from tests.support.mixed_items import ENCODERS, Mix, write_mixes
from tests.support.postgres_server import started_postgres
from tests.support.supervised_suite import SupervisedSuite, supervised_suite

ROUNDS: Final = int(os.environ.get("LOOKALIKE_TEST_ROUNDS", "3"))
ENGINES: Final = ("sqlite", "postgres")
PATIENCE: Final = 240.0
"""Seconds for a round; on an idle machine it takes ten."""
FINAL: Final = frozenset(
    {
        job_pb2.Job.STATE_SUCCEEDED,
        job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES,
        job_pb2.Job.STATE_FAILED,
        job_pb2.Job.STATE_CANCELLED,
    }
)

Answer = TypeVar("Answer")
Contents = Mapping[str, tuple[str, str]]
"""By entity id: its item and its content hash."""


@dataclass
class Arena:
    """The suite, its things, and what they become when nobody is killed."""

    suite: SupervisedSuite
    client: Client
    mixes: Sequence[Mix]
    jobs: ingest_service_pb2_grpc.IngestServiceAsyncStub
    entities: entity_service_pb2_grpc.EntityServiceStub
    undisturbed: dict[str, Contents] = field(default_factory=dict)
    """By mix."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def arena(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Arena]:
    home = tmp_path_factory.mktemp(f"chaos-{request.param}")
    root = home / "root"
    root.mkdir()
    async with AsyncExitStack() as stack:
        postgres = None
        if request.param == "postgres":
            postgres = stack.enter_context(started_postgres())
        suite = await stack.enter_async_context(supervised_suite(home, root, postgres))
        ingest = await stack.enter_async_context(
            open_channel(TargetSettings(address=suite.address("ingest")))
        )
        search = stack.enter_context(grpc.insecure_channel(suite.address("search")))
        started = Arena(
            suite,
            stack.enter_context(suite.client()),
            write_mixes(root),
            ingest_service_pb2_grpc.IngestServiceStub(ingest),
            entity_service_pb2_grpc.EntityServiceStub(search),
        )
        calm = await play(started, "calm", [])
        for mix in started.mixes:
            await assert_whole(started, mix, calm[mix.name])
            started.undisturbed[mix.name] = await stored(started, calm[mix.name])
        yield started


@pytest.mark.timeout(PATIENCE * 3)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_every_item_is_there_once_whoever_is_killed(arena: Arena, seed: int) -> None:
    chance = random.Random(seed)
    victims = chance.choices(arena.suite.programs, k=chance.randint(3, 6))
    kills = sorted((chance.random(), program) for program in victims)
    jobs = await play(arena, f"round-{seed}", kills)
    for mix in arena.mixes:
        await assert_whole(arena, mix, jobs[mix.name])
        assert await stored(arena, jobs[mix.name]) == arena.undisturbed[mix.name], kills


async def play(
    arena: Arena, name: str, kills: Sequence[tuple[float, str]]
) -> dict[str, job_pb2.Job]:
    """Run the jobs side by side, killing; return by mix how they ended.

    A kill is due when so large a share of all items has come to an outcome.
    """
    waiting = list(kills)
    latest: dict[str, list[job_pb2.Job]] = {}
    for mix in arena.mixes:
        collection = f"{name}-{mix.name}"
        fields = [
            collection_pb2.VectorField(name=name, encoder=f"encoders/{encoder}", optional=True)
            for name, encoder in ENCODERS.items()
        ]
        create = partial(arena.client.create_collection, collection, vector_fields=fields)
        await insist(create)
        latest[mix.name] = [await create_job(arena, mix, f"collections/{collection}")]
    expected = sum(mix.total for mix in arena.mixes)

    async def ended() -> bool:
        for moves in latest.values():
            await look(arena, moves)
        now = [moves[-1] for moves in latest.values()]
        share = sum(settled(job) for job in now) / expected
        while waiting and waiting[0][0] <= share:
            await asyncio.to_thread(arena.suite.kill, waiting.pop(0)[1])
        return all(job.state in FINAL for job in now)

    await assert_eventually(ended, PATIENCE)
    assert not waiting, "it was over before all were killed"
    return {mix: moves[-1] for mix, moves in latest.items()}


async def create_job(arena: Arena, mix: Mix, collection: str) -> job_pb2.Job:
    """Create a job through the gateway, repeating the request until there is an answer."""
    job = job_pb2.Job(collection=collection, request_id=collection)
    job.MergeFrom(mix.job)
    body = json.dumps(MessageToDict(job)).encode()
    answers: list[str] = []

    async def answered() -> bool:
        try:
            answers.append(await asyncio.to_thread(post, arena.suite.address("gateway"), body))
        except OSError:  # nobody is there, or the service behind it is not
            return False
        return True

    await assert_eventually(answered, 60)
    return job_pb2.Job(name=answers[-1])


def post(address: str, body: bytes) -> str:
    """Send a job; return its name. Raises OSError when that has to be repeated."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}/v1/jobs", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own gateway
        return str(json.load(answer)["name"])


async def look(arena: Arena, moves: list[job_pb2.Job]) -> None:
    """Note how a job stands, if anybody says so; it only ever goes forward, and ends once."""
    last = moves[-1]
    request = ingest_service_pb2.GetJobRequest(name=last.name)
    try:
        now = await arena.jobs.GetJob(request, timeout=5)
    except grpc.aio.AioRpcError as error:
        if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            return
        raise
    assert settled(now) >= settled(last), "progress went backwards"
    if last.state in FINAL:
        assert (now.state, now.counts) == (last.state, last.counts), "it ended twice"
    moves.append(now)


def settled(job: job_pb2.Job) -> int:
    """Return how many items have their outcome."""
    counts = job.counts
    return counts.created + counts.updated + counts.unchanged + counts.skipped + counts.failed


async def assert_whole(arena: Arena, mix: Mix, job: job_pb2.Job) -> None:
    """Compare what a job says with the record."""
    counts = job.counts
    failures = await insist(lambda: list(arena.client.job_failures(job.name)))
    assert sorted(each.item for each in failures) == sorted(mix.bad), failures
    assert job.state == job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES, job
    assert counts.total == settled(job) == mix.total
    assert (counts.created, counts.failed) == (len(mix.good), len(mix.bad)), job
    found = await stored(arena, job)
    assert {item for item, _ in found.values()} == mix.good


async def stored(arena: Arena, job: job_pb2.Job) -> Contents:
    """Return what the collection of a job holds: nothing twice, all of it of this job."""
    found = await insist(lambda: list(listed(arena, job.collection)))
    ids = [each.name.rpartition("/")[2] for each in found]
    assert max(Counter(ids).values()) == 1
    assert {each.generation for each in found} == {job.generation}, "something stale is left"
    contents = [(each.item, each.content_hash) for each in found]
    return dict(zip(ids, contents, strict=True))


def listed(arena: Arena, collection: str) -> Iterator[entity_pb2.Entity]:
    """Yield all entities, with what the client does not ask for."""
    request = entity_service_pb2.ListEntitiesRequest(
        collection=collection, output_fields=["item", "content_hash", "generation"], page_size=1000
    )
    while True:
        try:
            reply = arena.entities.ListEntities(request, timeout=60)
        except grpc.RpcError as error:
            raise LookalikeError.from_call(error) from error
        yield from reply.entities
        request.page_token = reply.next_page_token
        if not request.page_token:
            return


async def insist(read: Callable[[], Answer]) -> Answer:
    """Read, again until those who were killed last are back."""
    answers: list[Answer] = []

    async def answered() -> bool:
        try:
            answers.append(await asyncio.to_thread(read))
        except UnavailableError:
            return False
        return True

    await assert_eventually(answered, 120, interval=0.2)
    return answers[-1]
