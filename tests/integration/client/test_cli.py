"""The `lookalike` command against real gRPC servers."""

import json
import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.rpc import status_pb2

from lookalike.ingest.v1 import job_pb2
from lookalike_client.suite.ports import Ports

if TYPE_CHECKING:
    from tests.integration.client.conftest import Ended, FakeSuite

Command = Callable[..., "Ended"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(b"not really a photo")
    return path


def test_search_shows_a_table(lookalike: Command, photo: Path) -> None:
    ended = lookalike("search", str(photo))
    assert ended.code == 0
    assert "cats/tom.png" in ended.output
    assert "0.7500" in ended.output


def test_search_shows_json(lookalike: Command) -> None:
    ended = lookalike("search", "--text", "a cat", "--output", "json")
    assert json.loads(ended.output)["hits"][0]["entity"]["item"] == "cats/tom.png"


def test_search_finds_the_vector_field_for_what_it_is_asked_with(
    lookalike: Command, suite: "FakeSuite"
) -> None:
    for name, other in (("mixed", "p?=efficientnet-lite0"), ("unclear", "words?=conse")):
        fields = ("--field", "texts?=minilm-l6-v2", "--field", other)
        assert lookalike("collections", "create", name, *fields).code == 0
    ended = lookalike("search", "--text", "a cat", "--keyword", "cat", "-c", "mixed")
    assert ended.code == 0, ended.complaints
    assert suite.searched == ["texts", ""]
    ended = lookalike("search", "--text", "a cat", "-c", "unclear")
    assert ended.code == 1
    assert "is needed where there are several" in ended.complaints


def test_search_says_that_nothing_is_similar_enough(lookalike: Command, photo: Path) -> None:
    ended = lookalike("search", str(photo), "--min-score", "0.95")
    assert (ended.code, ended.output) == (0, "")
    assert "nothing is similar enough; the best score was 0.5000" in ended.complaints


def test_search_needs_one_thing_to_search_with(lookalike: Command) -> None:
    ended = lookalike("search")
    assert ended.code == 2
    assert ended.complaints == (
        "lookalike: give a file, --text, --keyword, --smiles, --structure, --vector or --entity\n"
    )


@pytest.mark.parametrize("name", ["no.png", "folder", "empty.png"])
def test_search_says_what_is_no_image_file(lookalike: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.png").touch()
    ended = lookalike("search", str(tmp_path / name))
    assert ended.code == 2
    assert str(tmp_path / name) in ended.complaints


def test_names_cannot_write_on_the_terminal(lookalike: Command, photo: Path) -> None:
    ended = lookalike("search", str(photo), "-c", "odd-names")
    assert "[/b]\\x1b[31m:cat:.png" in ended.output


def test_a_refusal_is_one_line(lookalike: Command, photo: Path) -> None:
    ended = lookalike("search", str(photo), "-k", "1000")
    assert ended.code == 1
    assert ended.complaints == ("lookalike: top_k is too large\n")


def test_a_service_that_is_away_is_one_line(
    lookalike: Command, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_SEARCH_ADDRESS", f"127.0.0.1:{Ports.free().search}")
    ended = lookalike("search", str(photo))
    assert ended.code == 4
    assert "cannot reach the service: Connection refused - is it running?" in ended.complaints
    assert len(ended.complaints.splitlines()) == 1


def test_ingest_creates_the_collection_and_ends_with_a_summary(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    ended = lookalike("ingest", str(tmp_path), "-c", "mine")
    assert ended.code == 0
    assert suite.made["collections/mine"].vector_fields[0].encoder == "encoders/efficientnet-lite0"
    assert suite.jobs[0].files.uris == [f"{tmp_path.as_uri()}/"]
    assert "jobs/j0 succeeded in 1.0 s: 4 created" in ended.output
    lookalike("ingest", str(tmp_path), "-c", "mine")
    assert list(suite.made) == ["collections/mine"]


def test_ingest_lists_what_failed_and_says_so_by_its_exit_code(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    error = status_pb2.Status(code=3, message="the file is empty")
    suite.failures.append(job_pb2.JobFailure(item="bad.png", step="decode", error=error))
    ended = lookalike("ingest", str(tmp_path))
    assert ended.code == 3
    assert "3 created, 1 failed" in ended.output
    assert "the file is empty" in ended.output


def test_a_folder_that_the_service_may_not_read_is_sent(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "tom.png").write_bytes(b"tom")
    (tmp_path / ".hidden").write_bytes(b"no")
    (tmp_path / "link.png").symlink_to(tmp_path / "cats" / "tom.png")
    suite.roots_closed = True
    ended = lookalike("ingest", str(tmp_path))
    assert ended.code == 0
    (asset,) = suite.jobs[0].files.uris
    sent = zipfile.ZipFile(BytesIO(suite.uploads[asset.removeprefix("assets/")]))
    assert sent.namelist() == ["cats/tom.png"]
    assert sent.read("cats/tom.png") == b"tom"
    received = suite.received
    assert lookalike("ingest", str(tmp_path)).code == 0
    assert suite.received == received, "the same files are sent only once"


def test_a_file_is_sent_as_an_item(lookalike: Command, suite: "FakeSuite", photo: Path) -> None:
    assert lookalike("ingest", str(photo), "--upload").code == 0
    (item,) = suite.jobs[0].items.items
    assert item.item == "photo.png"
    assert suite.uploads[item.content.asset.removeprefix("assets/")] == photo.read_bytes()


def test_names_that_are_no_utf8_are_sent_escaped(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/bad\xff.png")).write_bytes(b"photo")
    assert lookalike("ingest", str(tmp_path), "--upload").code == 0
    (asset,) = suite.jobs[0].files.uris
    sent = zipfile.ZipFile(BytesIO(suite.uploads[asset.removeprefix("assets/")]))
    assert sent.namelist() == ["bad\\xff.png"]


def test_an_empty_file_is_not_sent(lookalike: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.zip").touch()
    ended = lookalike("ingest", str(tmp_path / "empty.zip"), "--upload")
    assert (ended.code, ended.output) == (2, "")
    assert "empty.zip is empty" in ended.complaints


def test_ingest_need_not_wait(lookalike: Command, tmp_path: Path) -> None:
    ended = lookalike("ingest", str(tmp_path), "--no-wait")
    assert (ended.code, ended.output) == (0, "jobs/j0\n")


def test_jobs_are_watched_by_name_or_id(lookalike: Command, tmp_path: Path) -> None:
    lookalike("ingest", str(tmp_path), "--no-wait")
    for name in ("j0", "jobs/j0"):
        assert "succeeded" in lookalike("jobs", "watch", name).output
        assert json.loads(lookalike("jobs", "get", name, "-o", "json").output)["name"] == "jobs/j0"


def test_collections_are_listed(lookalike: Command) -> None:
    lookalike("collections", "create", "photos")
    listed = lookalike("collections", "list")
    assert "photos" in listed.output
    assert "milvus-lite 3.2.2" in listed.output
    as_json = json.loads(lookalike("collections", "list", "-o", "json").output)
    assert as_json[0]["state"] == "STATE_READY"


def test_doctor_names_what_is_wrong(lookalike: Command, suite: "FakeSuite") -> None:
    lookalike("collections", "create", "photos")
    made = suite.made["collections/photos"]
    made.entity_count = 60_000
    made.vector_fields[0].encoder_fingerprint = "cd" * 32
    nobody = f"127.0.0.1:{Ports.free().gateway}"
    ended = lookalike("--gateway", nobody, "doctor")
    assert ended.code == 1
    assert "60,000 entities: too many for Milvus Lite" in ended.output
    assert "is bound to another encoders/efficientnet-lite0" in ended.output
    assert f"gateway does not answer at {nobody}" in ended.output
    assert "encoders/efficientnet-lite0@1" in ended.output


def test_version(lookalike: Command) -> None:
    ended = lookalike("version")
    assert ended.code == 0
    assert ended.output.count(".") == 2


def test_models_hands_over_to_the_encoder(
    lookalike: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    ended = lookalike("models", "list")
    assert ended.code == 1
    assert "pip install 'lookalike[all]'" in ended.complaints


def test_up_refuses_ports_that_are_taken(
    lookalike: Command, suite: "FakeSuite", tmp_path: Path
) -> None:
    base = str(Ports.free_base())
    options = ["--data-dir", str(tmp_path), "--port-base", base]
    ended = lookalike("up", *options, "--search-port", str(suite.port))
    assert ended.code == 1
    assert f"in use already: search {suite.port}" in ended.complaints
