"""The local overlay, running in containers built from `dist/`, with real photos in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage

from lookalike_client import Client
from tests.cluster.calls import connect, start_ingest, wait_for
from tools.cluster_images import build_images
from tools.manifest_lint import Manifests
from tools.mini_kubelet import Cluster
from tools.render import OVERLAYS, render

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    build_images()
    manifests = Manifests.parse(render(OVERLAYS / "local"))
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-cluster-") as folder,
        Cluster(manifests, name="lookalike-test", folder=Path(folder)) as cluster,
    ):
        cluster.start()
        yield cluster


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with connect(cluster) as client:
        yield client


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    folder = Path(skimage.__file__).parent / "data"
    return {name: (folder / name).read_bytes() for name in PHOTOS}


@pytest.fixture(scope="session")
def filled(cluster: Cluster, photos: dict[str, bytes]) -> str:
    """The id of a collection with the photos in it."""
    with connect(cluster) as client:
        client.create_collection("photos")
        job = wait_for(client, start_ingest(client, "photos", photos))
    assert job.counts.created == len(photos), job
    return "photos"
