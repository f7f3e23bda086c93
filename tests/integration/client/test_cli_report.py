"""`lookalike jobs report`: what it tells, and that nobody's words become markup or formulas."""

import base64
import csv
import io
import re
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from PIL import Image
from typing_extensions import override

from lookalike.ingest.v1.job_pb2 import FilesSource, ItemCounts, Job, JobFailure, JobItem
from lookalike.type.v1.segment_pb2 import Segment

if TYPE_CHECKING:
    from tests.integration.client.conftest import Ended, FakeSuite

Command = Callable[..., "Ended"]
ODD = "<img src=x onerror=alert(1)>\"'&.png"


def failure(item: str, *, uri: str = "", asset: str = "", message: str = "broken") -> JobFailure:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="INVALID_CONTENT", domain="lookalike"))
    return JobFailure(
        item=item,
        source_uri=uri,
        asset=asset,
        step="decode",
        attempts=2,
        line=7,
        segment=Segment(page=3),
        error=status_pb2.Status(code=3, message=message, details=[info]),
    )


@pytest.fixture
def job(suite: "FakeSuite") -> Job:
    made = Job(
        name="jobs/j0",
        collection="collections/photos",
        files=FilesSource(uris=["file:///photos/"]),
        state=Job.STATE_SUCCEEDED_WITH_FAILURES,
        counts=ItemCounts(total=3, created=2, failed=1),
        warnings=["large for <Milvus Lite>"],
        media_types={"image/png": 3},
    )
    made.end_time.GetCurrentTime()
    suite.jobs.append(made)
    return made


def png(colour: str, size: tuple[int, int] = (400, 300)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    @override
    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def pictures(self) -> list[bytes]:
        """The bytes of its images."""
        sources = [str(named["src"]) for tag, named in self.elements if tag == "img"]
        return [base64.b64decode(each.partition("base64,")[2]) for each in sources]


@pytest.fixture
def page(lookalike: Command, job: Job, tmp_path: Path) -> Callable[[], Page]:
    def page() -> Page:
        ended = lookalike("jobs", "report", job.name, "--to", str(tmp_path / "report.html"))
        assert ended.code == 0, ended.complaints
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return page


def test_a_table_tells_what_failed_and_where(
    lookalike: Command, suite: "FakeSuite", job: Job
) -> None:
    suite.failures.append(failure("bad.png"))
    ended = lookalike("jobs", "report", job.name)
    assert "2 created, 1 failed" in ended.output
    assert "note: large for <Milvus Lite>" in ended.output
    assert re.search(r"bad.png *│ line 7, page 3 *│ decode *│ broken", ended.output)


def test_a_row_of_csv_for_each_item(lookalike: Command, suite: "FakeSuite", job: Job) -> None:
    suite.items.extend(
        [
            JobItem(item="new.png", outcome=JobItem.OUTCOME_CREATED, entities=2, attempts=1),
            JobItem(item="bad.png", outcome=JobItem.OUTCOME_FAILED),
            JobItem(item="late.png", line=4),
        ]
    )
    suite.failures.extend([failure("a,\n.png", uri="file:///a"), failure("=1+1", message="-x")])
    ended = lookalike("jobs", "report", job.name, "--format", "csv")
    new, late, first, second = csv.DictReader(io.StringIO(ended.output))
    assert (new["outcome"], new["item"], new["entities"]) == ("created", "new.png", "2")
    assert (late["outcome"], late["line"]) == ("not reached", "4")
    assert (first["outcome"], first["item"]) == ("failed", "a,\n.png")
    assert first["source_uri"] == "file:///a"
    assert (first["line"], first["place"], first["step"]) == ("7", "page 3", "decode")
    assert (first["reason"], first["attempts"]) == ("INVALID_CONTENT", "2")
    assert (second["item"], second["message"]) == ("'=1+1", "'-x")


def test_words_of_others_are_no_markup(
    suite: "FakeSuite", job: Job, page: Callable[[], Page]
) -> None:
    suite.failures.append(failure(ODD, uri=ODD, message=ODD))
    job.labels[ODD] = ODD
    job.files.uris.append(ODD)
    found = page()
    assert "img" not in {tag for tag, _ in found.elements}
    assert found.text.count(ODD) == 6
    assert "large for <Milvus Lite>" in found.text
    policies = [
        named["content"] for tag, named in found.elements if tag == "meta" and len(named) > 1
    ]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_that_failed_are_shown_small(
    suite: "FakeSuite", page: Callable[[], Page], tmp_path: Path
) -> None:
    sha256 = "ab" * 32
    suite.uploads[sha256] = png("red")
    (tmp_path / "a b.png").write_bytes(png("green"))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as packed:
        packed.writestr("cats/tom.png", png("blue"))
    suite.failures.extend(
        [
            failure("kept", asset=f"assets/{sha256}"),
            failure("here", uri=(tmp_path / "a b.png").as_uri()),
            failure("packed", uri=f"{(tmp_path / 'more.zip').as_uri()}!/cats/tom.png"),
        ]
    )
    shown = [Image.open(io.BytesIO(each)) for each in page().pictures]
    assert [each.size for each in shown] == [(160, 120)] * 3
    means = [each.resize((1, 1)).tobytes() for each in shown]
    assert [max(range(3), key=mean.__getitem__) for mean in means] == [0, 1, 2]


def test_what_cannot_be_read_is_shown_as_it_is_if_it_begins_like_a_picture(
    suite: "FakeSuite", page: Callable[[], Page], tmp_path: Path
) -> None:
    cut = png("red")[:60]
    (tmp_path / "cut.png").write_bytes(cut)
    (tmp_path / "secret.txt").write_text("not for a report")
    (tmp_path / "huge.png").write_bytes(cut + bytes(1 << 20))
    for name in ("cut.png", "secret.txt", "huge.png", "missing.png"):
        suite.failures.append(failure(name, uri=(tmp_path / name).as_uri()))
    suite.failures.append(failure("elsewhere", uri=f"file://host{tmp_path}/cut.png"))
    suite.failures.append(failure("web", uri="https://example.org/cut.png"))
    suite.failures.append(failure("gone", asset=f"assets/{'cd' * 32}"))
    assert page().pictures == [cut]


def test_files_of_another_machine_are_not_looked_for_here(
    lookalike: Command, suite: "FakeSuite", job: Job, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png("green"))
    suite.failures.append(failure("a", uri=(tmp_path / "a.png").as_uri()))
    there = f"ipv4:127.0.0.1:{suite.port}"
    ended = lookalike("--ingest", there, "jobs", "report", job.name, "--format", "html")
    assert ended.code == 0
    assert not Page(ended.output).pictures


def test_a_long_list_is_cut_on_the_page(
    suite: "FakeSuite", job: Job, page: Callable[[], Page]
) -> None:
    suite.failures.extend(failure(f"{number}.png") for number in range(1001))
    job.counts.failed = 1001
    found = page()
    assert "999.png" in found.text
    assert "1000.png" not in found.text
    assert "… 1 more" in found.text


def test_a_place_that_cannot_be_written_is_named(
    lookalike: Command, job: Job, tmp_path: Path
) -> None:
    ended = lookalike("jobs", "report", job.name, "--to", str(tmp_path / "no" / "a.csv"))
    assert ended.code == 1
    assert "a.csv: No such file or directory" in ended.complaints
