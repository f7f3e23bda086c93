"""A suite as a user has it: start, ingest, search, ask from outside, stop."""

import asyncio
import base64
import json
import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lookalike_client import Client, NotFoundError
from lookalike_client.demo import edits, suite
from lookalike_common.testing import assert_eventually
from tests.support.suite import MODELS, PROGRAMS, Ended, Suite, alive, children_of

Program = Callable[..., Ended]


@pytest.fixture(scope="module")
def ingested(running_suite: Suite, lookalike: Program) -> Suite:
    """The suite with its photos in the collection `photos`."""
    ended = lookalike("ingest", str(running_suite.photos.folder), "-c", "photos")
    assert ended.code == 0, ended.complaints
    assert f"{len(running_suite.photos.paths())} created" in ended.output
    return running_suite


def flipped(photo: Path) -> bytes:
    return edits.flip(edits.upright(photo.read_bytes()))


def test_ingesting_again_changes_nothing(ingested: Suite, lookalike: Program) -> None:
    number = len(ingested.photos.paths())
    ended = lookalike("ingest", str(ingested.photos.folder), "-c", "photos")
    assert f"{number} unchanged" in ended.output
    listed = lookalike("collections", "get", "photos", "-o", "json").json()
    assert int(listed["entityCount"]) == number


def test_a_flipped_copy_finds_its_original(
    ingested: Suite, lookalike: Program, tmp_path: Path
) -> None:
    for photo in ingested.photos.paths()[:5]:
        copy = tmp_path / "copy.png"
        copy.write_bytes(flipped(photo))
        hits = lookalike("search", str(copy), "-c", "photos", "-o", "json").json()["hits"]
        assert hits[0]["entity"]["item"] == photo.name


def test_the_gateway_gives_the_same_hits(ingested: Suite, client: Client) -> None:
    image = flipped(ingested.photos.paths()[0])
    body = {"topK": 5, "queries": [{"content": {"image": base64.b64encode(image).decode()}}]}
    url = f"http://{ingested.address('gateway')}/v1/collections/photos:search"
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own gateway
        # Any: JSON has values of every kind.
        by_http: list[Any] = json.load(answer)["hits"]
    by_grpc = client.search_image("photos", image, top_k=5).hits
    assert [hit["entity"]["item"] for hit in by_http] == [hit.entity.item for hit in by_grpc]
    assert [hit["score"] for hit in by_http] == pytest.approx([hit.score for hit in by_grpc])


def test_one_bad_file_does_not_stop_the_others(running_suite: Suite, lookalike: Program) -> None:
    folder = running_suite.photos.folder / "mixed"
    folder.mkdir()
    (folder / "good.png").write_bytes(running_suite.photos.paths()[0].read_bytes())
    (folder / "truncated.png").write_bytes(running_suite.photos.paths()[1].read_bytes()[:2000])
    (folder / "text.png").write_text("this is no picture")
    (folder / "empty.png").touch()
    ended = lookalike("ingest", str(folder), "-c", "mixed")
    assert ended.code == 3, ended.complaints
    assert "1 created, 3 failed" in ended.output
    for name in ("truncated.png", "text.png", "empty.png"):
        assert name in ended.output


def test_a_folder_outside_the_roots_is_sent(
    running_suite: Suite, lookalike: Program, tmp_path: Path
) -> None:
    for photo in running_suite.photos.paths()[:3]:
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    ended = lookalike("ingest", str(tmp_path), "-c", "sent")
    assert "may not read that path" in ended.complaints
    assert "3 created" in ended.output
    assert ended.code == 0
    assert "3 unchanged" in lookalike("ingest", str(tmp_path), "-c", "sent").output


def test_collections_come_and_go(client: Client, lookalike: Program) -> None:
    assert lookalike("collections", "create", "short-lived").code == 0
    assert lookalike("collections", "create", "short-lived").code == 1
    assert lookalike("collections", "delete", "short-lived", "--yes").code == 0
    with pytest.raises(NotFoundError):
        client.collection("short-lived")


@pytest.mark.usefixtures("ingested")
def test_doctor_finds_nothing_wrong(lookalike: Program) -> None:
    ended = lookalike("doctor")
    assert ended.code == 0, ended.output
    assert "all is well" in ended.output
    assert "milvus-lite" in ended.output


SERVICES = {
    "encoder": ["encoder.v1.EncoderService"],
    "search": [
        "search.v1.CollectionService",
        "search.v1.EntityService",
        "search.v1.SearchService",
    ],
    "ingest": ["ingest.v1.IngestService", "asset.v1.AssetService"],
}


@pytest.mark.parametrize("service", SERVICES)
def test_grpcurl_lists_and_describes_with_comments(service: str, grpcurl: Program) -> None:
    listed = grpcurl(service, "list").output.splitlines()
    wanted = [f"lookalike.{name}" for name in SERVICES[service]]
    common = ["grpc.health.v1.Health", "lookalike.type.v1.ServerInfoService"]
    assert {*wanted, *common} <= {*listed}
    for name in wanted:
        described = grpcurl(service, "describe", name).output
        assert described.startswith(f"{name} is a service:\n// ")
        assert "NOT_FOUND" in described


def test_grpcurl_calls(ingested: Suite, grpcurl: Program) -> None:
    image = base64.b64encode(flipped(ingested.photos.paths()[0])).decode()
    body = {
        "collection": "collections/photos",
        "top_k": 1,
        "queries": [{"content": {"image": image}}],
    }
    method = "lookalike.search.v1.SearchService/Search"
    found = grpcurl("search", method, body=json.dumps(body)).json()
    assert found["hits"][0]["entity"]["item"] == ingested.photos.paths()[0].name
    refused = grpcurl("search", method, body=json.dumps({**body, "top_k": 0}))
    assert refused.code != 0
    assert "InvalidArgument" in refused.complaints


@pytest.mark.usefixtures("ingested")
def test_grpcurl_streams(grpcurl: Program, client: Client) -> None:
    job = next(client.jobs(collection="photos"))
    body = json.dumps({"name": job.name})
    replies = grpcurl("ingest", "lookalike.ingest.v1.IngestService/WatchJob", body=body).output
    assert '"STATE_SUCCEEDED"' in replies


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_nothing_stays_behind(how: signal.Signals, tmp_path: Path) -> None:
    with suite.running(tmp_path / "data", tmp_path, MODELS) as running:
        children = children_of(running.pid)
        assert len(children) == len(PROGRAMS)
        os.kill(running.pid, how)

    def gone() -> bool:
        return not any(alive(pid) for pid in children) and not running.ports.taken()

    asyncio.run(assert_eventually(gone, timeout=5))
