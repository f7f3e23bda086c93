"""The local overlay does its work under its own restrictions, and loses nothing on the way.

The tests share one cluster and follow one another; the last ones take its pods down.
"""

from __future__ import annotations

import json
import urllib.request
from functools import partial

from lookalike_client import Client
from lookalike_common.testing import assert_eventually
from tests.cluster.calls import (
    calling,
    connect,
    entity_search,
    first_hits,
    searches_served,
    start_ingest,
    wait_for,
)
from tools.mini_kubelet import Cluster, Pod

Photos = dict[str, bytes]
PODS = {"encoder-0", "gateway-0", "ingest-0", "milvus-0", "search-0", "search-1"}


def is_ready(cluster: Cluster, pod: Pod, *, wanted: bool = True) -> bool:
    return cluster.probe(pod, "readinessProbe") is wanted


def test_every_pod_is_ready_and_alive(cluster: Cluster) -> None:
    assert set(cluster.pods) == PODS
    for pod in cluster.pods.values():
        assert cluster.probe(pod, "readinessProbe"), cluster.log(pod)
        assert cluster.probe(pod, "livenessProbe"), cluster.log(pod)


def test_photos_go_in_and_come_out_first(client: Client, filled: str, photos: Photos) -> None:
    assert client.count(filled) == len(photos)
    assert first_hits(client, filled, photos) == {name: name for name in photos}


def test_ingesting_again_changes_nothing(client: Client, filled: str, photos: Photos) -> None:
    job = wait_for(client, start_ingest(client, filled, photos))
    assert (job.counts.unchanged, job.counts.created) == (len(photos), 0)


def test_the_gateway_gives_the_same_hits(
    cluster: Cluster, client: Client, filled: str, photos: Photos
) -> None:
    request = entity_search(client, filled, photos["chelsea.png"])
    direct = [hit.entity.item for hit in client.search(request).hits]
    body = {"queries": [{"entity": request.queries[0].entity}], "topK": request.top_k}
    pod = cluster.pods["gateway-0"]
    call = urllib.request.Request(
        f"http://{pod.address}:8080/v1/collections/{filled}:search",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=10) as reply:  # noqa: S310 - http, of a pod
        assert [hit["entity"]["item"] for hit in json.load(reply)["hits"]] == direct


def test_replicas_share_the_calls(
    cluster: Cluster, client: Client, filled: str, photos: Photos
) -> None:
    request = entity_search(client, filled, photos["chelsea.png"])
    pods = [cluster.pods["search-0"], cluster.pods["search-1"]]
    before = [searches_served(pod) for pod in pods]
    for _ in range(100):
        client.search(request)
    shares = [searches_served(pod) - count for pod, count in zip(pods, before, strict=True)]
    assert min(shares) >= 40, shares


def test_a_rollout_loses_no_call(
    cluster: Cluster, client: Client, filled: str, photos: Photos
) -> None:
    request = entity_search(client, filled, photos["chelsea.png"])
    with calling(lambda: client.search(request)) as outcomes:
        for old, new in ((0, 2), (1, 3)):
            cluster.wait_ready(cluster.start_pod("search", new))
            assert cluster.stop(cluster.pods[f"search-{old}"]) == 0
    assert not outcomes.errors
    assert outcomes.succeeded > 100


def test_a_killed_replica_loses_no_call(
    cluster: Cluster, client: Client, filled: str, photos: Photos
) -> None:
    request = entity_search(client, filled, photos["chelsea.png"])
    with calling(lambda: client.search(request)) as outcomes:
        cluster.kill(cluster.pods["search-2"])
        cluster.wait_ready(cluster.start_pod("search", 0))
    assert not outcomes.errors
    assert outcomes.succeeded > 100


async def test_search_recovers_from_the_loss_of_milvus(
    cluster: Cluster, client: Client, filled: str, photos: Photos
) -> None:
    pods = [cluster.pods["search-0"], cluster.pods["search-3"]]
    cluster.kill(cluster.pods["milvus-0"])
    for pod in pods:
        await assert_eventually(partial(is_ready, cluster, pod, wanted=False), timeout=30)
        assert cluster.probe(pod, "livenessProbe")
    cluster.wait_ready(cluster.start_pod("milvus", 0))
    for pod in pods:  # Milvus has another address now
        await assert_eventually(partial(is_ready, cluster, pod), timeout=15)
    assert first_hits(client, filled, photos) == {name: name for name in photos}


def test_a_job_survives_the_loss_of_its_pod(
    cluster: Cluster, client: Client, photos: Photos
) -> None:
    client.create_collection("survivors")
    items = {f"{index}/{name}": image for index in range(20) for name, image in photos.items()}
    job = start_ingest(client, "survivors", items)
    cluster.kill(cluster.pods["ingest-0"])
    cluster.wait_ready(cluster.start_pod("ingest", 0))
    with connect(cluster) as again:
        done = wait_for(again, job)
        assert done.counts.created == len(items), done
        assert again.count("survivors") == len(items)


def test_every_pod_ends_gracefully(cluster: Cluster) -> None:
    codes = {name: cluster.stop(pod) for name, pod in list(cluster.pods.items())}
    assert set(codes.values()) == {0}, codes
