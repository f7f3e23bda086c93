"""The client against real gRPC servers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from lookalike_client import (
    Client,
    InvalidRequestError,
    LookalikeError,
    NotFoundError,
    UnavailableError,
)
from lookalike_client.suite.ports import Ports

if TYPE_CHECKING:
    from tests.integration.client.conftest import FakeSuite


def test_an_image_is_searched_by_path_or_by_bytes(client: Client, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"bytes")
    for image in (photo, b"bytes"):
        reply = client.search_image("photos", image, top_k=3)
        assert reply.hits[0].entity.name == "collections/photos/entities/e1"


def test_a_refusal_carries_code_reason_field_and_request_id(client: Client) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.search_text("photos", "cat", top_k=1000)
    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.reason, error.field, error.request_id) == ("LIMIT_EXCEEDED", "top_k", "req-1")
    assert str(error) == ("top_k is too large (reason LIMIT_EXCEEDED, request id req-1)")


def test_a_missing_collection_is_a_not_found_error(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no such collection: collections/none"):
        client.collection("none")


def test_a_service_that_is_away_is_an_unavailable_error() -> None:
    address = f"127.0.0.1:{Ports.free().search}"
    with Client(search=address) as client, pytest.raises(UnavailableError):
        client.collection("photos")


def test_each_call_has_a_request_id_and_the_token(suite: "FakeSuite") -> None:
    with Client(search=f"127.0.0.1:{suite.port}", token="secret") as client:
        client.search_text("photos", "cat")
        first = suite.metadata
        client.search_text("photos", "cat")
    assert first["authorization"] == "Bearer secret"
    assert first["x-request-id"] != suite.metadata["x-request-id"]


def test_pages_are_followed(client: Client) -> None:
    for name in ("a", "b", "c"):
        client.create_collection(name, encoder="efficientnet-lite0")
    found = [collection.name for collection in client.collections()]
    assert found == ["collections/a", "collections/b", "collections/c"]


def test_a_broken_watch_goes_on_where_it_was(client: Client, suite: "FakeSuite") -> None:
    suite.break_watches = 2
    job = client.ingest_files("photos", ["file:///photos/"])
    created = [moved.counts.created for moved in client.watch_job(job.name)]
    assert created == [1, 2, 3, 4]
    assert suite.watched_from == [0, 1, 2]


def test_bytes_are_uploaded_once(client: Client, suite: "FakeSuite") -> None:
    first, second = client.upload(b"x" * 10), client.upload(b"x" * 10)
    assert first == second
    assert suite.received == 10


def test_a_broken_upload_goes_on_where_it_was(
    client: Client, suite: "FakeSuite", tmp_path: Path
) -> None:
    big = tmp_path / "big.zip"
    big.write_bytes(bytes(range(256)) * 12 * 1024)
    suite.break_uploads = 2
    asset = client.upload(big)
    assert suite.uploads[asset.removeprefix("assets/")] == big.read_bytes()
    assert suite.received == big.stat().st_size


def test_all_errors_are_one_tree(client: Client) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: client.collection("none"),
        lambda: client.delete_collection("none"),
        lambda: client.search_text("photos", "cat", top_k=1000),
    ]
    for attempt in attempts:
        with pytest.raises(LookalikeError):
            attempt()
