"""How the tests call the suite in the cluster, also while something happens to its pods."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import search_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client import Client, LookalikeError
from tools.mini_kubelet import Cluster, Pod
from tools.mini_kubelet.podman import podman


@contextmanager
def connect(cluster: Cluster) -> Iterator[Client]:
    """Call as a pod would: by the names of Services, asked of the DNS of the pods' network."""
    network = json.loads(podman("network", "inspect", cluster.name))[0]
    resolver = network["subnets"][0]["gateway"]
    with Client(
        encoder=f"dns://{resolver}:53/encoder.dns.podman:50051",
        search=f"dns://{resolver}:53/search.dns.podman:50052",
        ingest=f"dns://{resolver}:53/ingest.dns.podman:50053",
    ) as client:
        yield client


def start_ingest(client: Client, collection: str, items: Mapping[str, bytes]) -> job_pb2.Job:
    """Start a job that ingests images under their names."""
    sources = [
        job_pb2.SourceItem(item=name, content=content_pb2.Content(image=image))
        for name, image in items.items()
    ]
    return client.create_job(
        job_pb2.Job(
            collection=f"collections/{collection}", items=job_pb2.ItemsSource(items=sources)
        )
    )


def wait_for(client: Client, job: job_pb2.Job) -> job_pb2.Job:
    """Follow a job to its end."""
    *_, last = client.watch_job(job.name)
    return last


def first_hits(client: Client, collection: str, photos: Mapping[str, bytes]) -> dict[str, str]:
    """Return the item that each photo finds first."""
    return {
        name: client.search_image(collection, image, top_k=1).hits[0].entity.item
        for name, image in photos.items()
    }


def entity_search(
    client: Client, collection: str, photo: bytes
) -> search_service_pb2.SearchRequest:
    """Return a search that needs no encoder: for what resembles the entity closest to a photo."""
    closest = client.search_image(collection, photo, top_k=1).hits[0].entity.name
    return search_service_pb2.SearchRequest(
        collection=f"collections/{collection}",
        queries=[search_service_pb2.Query(entity=closest)],
        top_k=3,
    )


@dataclass
class Outcomes:
    """What became of repeated calls."""

    succeeded: int = 0
    errors: Counter[str] = field(default_factory=Counter)


@contextmanager
def calling(call: Callable[[], object]) -> Iterator[Outcomes]:
    """Repeat a call in a thread for as long as the context lasts."""
    outcomes, done = Outcomes(), threading.Event()

    def repeat() -> None:
        while not done.is_set():
            try:
                call()
                outcomes.succeeded += 1
            except LookalikeError as error:
                outcomes.errors[str(error)] += 1

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield outcomes
    finally:
        done.set()
        thread.join()


def searches_served(pod: Pod) -> int:
    """How many searches a pod has answered, by its own metrics."""
    with urllib.request.urlopen(
        f"http://{pod.address}:{pod.container.ports['metrics']}/metrics", timeout=5
    ) as reply:
        lines = reply.read().decode().splitlines()
    served = [
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("grpc_server_handled_total{")
        and 'grpc_method="Search"' in line
        and 'grpc_code="OK"' in line
    ]
    return int(sum(served))
