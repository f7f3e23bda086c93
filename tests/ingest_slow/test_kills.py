"""Each of the five processes is killed in the middle of an ingest, and under writers that keep
their own record of acknowledgements; nothing is lost or doubled."""

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    collection_service_pb2_grpc,
    entity_pb2,
    entity_service_pb2,
    entity_service_pb2_grpc,
)
from lookalike.type.v1 import vector_pb2
from lookalike_client import Client
from lookalike_client._channel import open_channel
from lookalike_client.demo import photos, suite
from lookalike_common.testing import assert_eventually
from tests.support.suite import MODELS, PROGRAMS, Suite
from tests.support.writers import Writer, by_grpc, by_http, revised

ITEMS = 300
KILL_AFTER = 40
TILE = 96


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite of its own, whose root holds many small pictures."""
    home = tmp_path_factory.mktemp("victim")
    samples = photos.samples(home / "samples")
    (home / "tiles").mkdir()
    for number, tile in enumerate(islice(_tiles(samples.paths()), ITEMS)):
        tile.save(home / "tiles" / f"{number:03}.png", compress_level=1)
    tiles = photos.PhotoSet(home / "tiles", "tests")
    with suite.running(home / "data", home / "tiles", MODELS) as running:
        yield Suite(running.ports, running.pid, tiles)


def _tiles(paths: list[Path]) -> Iterator[Image.Image]:
    for path in paths:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        for left in range(0, picture.width - TILE, TILE):
            for top in range(0, picture.height - TILE, TILE):
                yield picture.crop((left, top, left + TILE, top + TILE))


@pytest.fixture
def client(victim: Suite) -> Iterator[Client]:
    with victim.client() as connected:
        yield connected


def _settled(job: job_pb2.Job) -> int:
    counts = job.counts
    return counts.created + counts.updated + counts.unchanged + counts.skipped + counts.failed


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_killed_process_costs_nothing_but_time(
    program: str, victim: Suite, client: Client
) -> None:
    collection = f"killed-{program}"
    client.create_collection(collection)
    job = client.ingest_files(collection, [f"{victim.photos.folder.as_uri()}/"])
    killed = 0
    progress: list[int] = []
    for moved in client.watch_job(job.name):
        job = moved
        progress.append(_settled(moved))
        if not killed and _settled(moved) >= KILL_AFTER:
            killed = victim.pid(program)
            os.kill(killed, signal.SIGKILL)
    assert killed, "the job was over before the kill"
    assert progress == sorted(progress), "progress went backwards"
    assert job.state == job_pb2.Job.STATE_SUCCEEDED, job
    assert job.counts.created == job.counts.total == ITEMS

    stored = Counter(entity.item for entity in client.entities(collection))
    assert stored == Counter(victim.photos.key(path) for path in victim.photos.paths())
    generations = {entity.generation for entity in client.entities(collection)}
    assert generations == {job.generation}, "something stale is left"


# --- writers -----------------------------------------------------------------------------------

BATCHES = 3
"""Batches that each writer gets acknowledged between two kills."""
PATIENCE = timedelta(seconds=5)
"""Deadline of one write."""


async def test_what_was_acknowledged_outlives_every_process(victim: Suite, client: Client) -> None:
    collection = _plain_collection(victim)
    with (
        victim.client(timeout=PATIENCE) as one,
        victim.client(timeout=PATIENCE) as two,
        Writer(1, collection, by_grpc(one)) as first,
        Writer(2, collection, by_grpc(two)) as second,
        Writer(3, collection, by_http(victim.address("gateway"), 10)) as third,
    ):
        writers = (first, second, third)
        for program in (*PROGRAMS, "search", "milvus"):
            await _progress(writers)
            os.kill(victim.pid(program), signal.SIGKILL)
        await _progress(writers)
    assert [each.defects for each in writers] == [[], [], []]
    assert all(writer.errors for writer in writers), "nobody noticed the kills"
    for writer in writers:
        assert set(writer.errors) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}, writer.errors

    record = {name: known for writer in writers for name, known in writer.record.items()}
    listed = list(client.entities(collection))
    stored = {each.name: _revision(each) for each in listed}
    assert len(listed) == len(stored) == client.count(collection), "some are there twice"
    assert set(stored) <= set(record)
    wrong = {
        name: (stored.get(name), known)
        for name, known in record.items()
        if known.acknowledged and stored.get(name) not in known.possible
    }
    assert not wrong, "what was acknowledged is gone, or older than acknowledged"
    _assert_whole(victim, collection, stored)


def _revision(entity: entity_pb2.Entity) -> int:
    return int(entity.attributes.fields["revision"].number_value)


async def _progress(writers: Sequence[Writer]) -> None:
    """Wait until all writers have got further."""
    start = [writer.answered for writer in writers]

    def further() -> bool:
        assert not any(writer.defects for writer in writers)
        return all(
            writer.answered >= begun + BATCHES for writer, begun in zip(writers, start, strict=True)
        )

    await assert_eventually(further, 60)


def _plain_collection(victim: Suite) -> str:
    """Create a collection whose vectors the writers bring."""
    field = collection_pb2.VectorField(dimensions=3, metric=vector_pb2.METRIC_COSINE)
    request = collection_service_pb2.CreateCollectionRequest(
        collection_id="written", collection=collection_pb2.Collection(vector_fields=[field])
    )
    with open_channel(victim.address("search")) as channel:
        stub = collection_service_pb2_grpc.CollectionServiceStub(channel)
        return stub.CreateCollection(request, timeout=60).name


def _assert_whole(victim: Suite, collection: str, stored: Mapping[str, int]) -> None:
    """Get each entity by its name: all of it is of one revision."""
    names = list(stored)
    with open_channel(victim.address("search")) as channel:
        stub = entity_service_pb2_grpc.EntityServiceStub(channel)
        for start in range(0, len(names), 1000):
            request = entity_service_pb2.BatchGetEntitiesRequest(
                collection=collection,
                names=names[start : start + 1000],
                output_fields=["item", "attributes", "vectors"],
                vector_format=vector_pb2.VECTOR_FORMAT_VALUES,
            )
            for name, result in zip(
                request.names, stub.BatchGetEntities(request, timeout=60).results, strict=True
            ):
                expected = revised(name, stored[name])
                assert (result.entity.item, result.entity.attributes) == (
                    expected.item,
                    expected.attributes,
                )
                assert list(result.entity.vectors["vector"].dense.values) == pytest.approx(
                    list(expected.vectors["vector"].dense.values), abs=1e-6
                )
