"""Each of the five processes is killed in the middle of an ingest; nothing is lost or doubled."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from lookalike.ingest.v1 import job_pb2
from lookalike_client import Client
from lookalike_client.demo import photos, suite
from tests.support.suite import MODELS, PROGRAMS, Suite

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
