"""Input that is broken, hostile or none of our business: a clear row each, the rest unharmed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import grpc
import pytest

from lookalike.asset.v1 import asset_service_pb2
from lookalike.ingest.v1 import job_pb2
from lookalike_common.status import error_from_status
from tests.integration.ingest.conftest import Suite, caught
from tests.support.pictures import fill, png
from tests.support.zips import claiming, make_zip, overlapping, with_link

INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def reasons(suite: Suite, job: job_pb2.Job) -> dict[str, tuple[str, str]]:
    """Return step and reason of each failure, by item."""
    return {
        failure.item: (failure.step, error_from_status(failure.error).reason)
        for failure in await suite.failures(job)
    }


async def test_files_that_are_no_pictures(suite: Suite) -> None:
    fill(suite.root, 3)
    for name, data in {
        "empty.jpg": b"",
        "text.jpg": b"this is no picture at all",
        "cut.png": png(1)[:20],
        "bomb.png": png(1, width=60000, height=60000),
        "notes.txt": b"not for a collection of photos",
        "unknown": b"\x00\x01\x02",
        "film.mp4": b"\0\0\0\x18ftypmp42",
        "song.mp3": b"ID3 not for a collection of photos",
        "._1.png": b"left by a Mac",
    }.items():
        (suite.root / name).write_bytes(data)
    done = await suite.run_files()
    assert await reasons(suite, done) == {
        "empty.jpg": ("decode", "INVALID_CONTENT"),
        "text.jpg": ("decode", "UNSUPPORTED_MEDIA"),
        "cut.png": ("decode", "INVALID_CONTENT"),
        "bomb.png": ("decode", "LIMIT_EXCEEDED"),
        "film.mp4": ("decode", "INVALID_CONTENT"),
    }
    assert (done.counts.created, done.counts.skipped, done.counts.failed) == (3, 4, 5)
    assert done.counts.total == 12
    assert done.state == job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES


async def test_too_large_a_file_is_not_read(suite: Suite) -> None:
    limit = suite.settings.media.max_file_bytes
    for name, prefix in {"large.png": png(1), "large.flac": b"fLaC"}.items():
        with (suite.root / name).open("wb") as file:
            file.write(prefix)
            file.truncate(limit + 1)
    done = await suite.run_files()
    assert await reasons(suite, done) == {"large.png": ("decode", "LIMIT_EXCEEDED")}
    assert done.counts.skipped == 1


async def test_links_and_special_files(suite: Suite, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    fill(outside, 1)
    fill(suite.root / "inner", 1)
    (suite.root / "out.png").symlink_to(outside / "0.png")
    (suite.root / "folder").symlink_to(outside)
    (suite.root / "in.png").symlink_to(suite.root / "inner" / "0.png")
    (suite.root / "round").symlink_to(suite.root)
    (suite.root / "nowhere.png").symlink_to(suite.root / "missing.png")
    os.mkfifo(suite.root / "pipe.png")
    done = await suite.run_files()
    assert await reasons(suite, done) == {
        "out.png": ("fetch", "LOCATION_NOT_ALLOWED"),
        "folder": ("fetch", "LOCATION_NOT_ALLOWED"),
        "nowhere.png": ("fetch", "RESOURCE_NOT_FOUND"),
    }
    assert set(suite.peers.items()) == {"inner/0.png", "in.png"}
    assert (done.counts.skipped, done.counts.total) == (2, 7)


@pytest.mark.parametrize(
    ("uri", "code", "reason"),
    [
        ("{outside}/", INVALID, "LOCATION_NOT_ALLOWED"),
        ("{root}/../outside/", INVALID, "LOCATION_NOT_ALLOWED"),
        ("{root}/%2e%2e/outside/", INVALID, "LOCATION_NOT_ALLOWED"),
        ("{root}/link/", INVALID, "LOCATION_NOT_ALLOWED"),
        ("{root}side/", INVALID, "LOCATION_NOT_ALLOWED"),
        ("file:///etc/passwd", INVALID, "LOCATION_NOT_ALLOWED"),
        ("file://other.host/photos/", INVALID, "INVALID_FIELD"),
        ("{root}/a%00b", INVALID, "INVALID_FIELD"),
        ("http://127.0.0.1/x.zip", INVALID, "LOCATION_NOT_ALLOWED"),
        ("/etc/passwd", INVALID, "LOCATION_NOT_ALLOWED"),
        ("{root}/missing/", grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"),
        (f"assets/{'0' * 64}", grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"),
        ("assets/../../etc/passwd", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    ],
)
async def test_places_that_may_not_be_read(
    suite: Suite, tmp_path: Path, uri: str, code: grpc.StatusCode, reason: str
) -> None:
    outside = tmp_path / "outside"
    fill(outside, 1)
    fill(tmp_path / "photosside", 1)
    (suite.root / "link").symlink_to(outside)
    filled = uri.format(root=suite.root.as_uri(), outside=outside.as_uri())
    with caught(code, reason, "job.files.uris[1]"):
        await suite.create_files(f"{suite.root.as_uri()}/", filled)


async def test_archives_are_read_member_by_member(suite: Suite) -> None:
    archive = make_zip(
        {
            "good.png": png(1),
            "below/good.png": png(2),
            "below/": b"",
            "../../evil.png": png(3),
            "/etc/evil.png": png(4),
            "a\\..\\evil.png": png(5),
            "nul\0.png": png(5),
            "inner.zip": make_zip({"x.png": png(6)}),
            "notes.txt": b"text",
            "bad.png": b"no picture",
            "__MACOSX/._good.png": b"left by a Mac",
        }
    )
    (suite.root / "photos.zip").write_bytes(archive)
    done = await suite.run_files(f"{suite.root.as_uri()}/photos.zip")
    assert set(suite.peers.items()) == {"good.png", "below/good.png"}
    assert await reasons(suite, done) == {
        "../../evil.png": ("unpack", "UNSAFE_ARCHIVE"),
        "/etc/evil.png": ("unpack", "UNSAFE_ARCHIVE"),
        "a\\..\\evil.png": ("unpack", "UNSAFE_ARCHIVE"),
        "nul\\0.png": ("unpack", "UNSAFE_ARCHIVE"),
        "inner.zip": ("unpack", "UNSAFE_ARCHIVE"),
        "bad.png": ("decode", "UNSUPPORTED_MEDIA"),
    }
    assert (done.counts.total, done.counts.skipped) == (10, 2)
    sources = {entity.source_uri for entity in suite.peers.entities.values()}
    assert f"{suite.root.as_uri()}/photos.zip!/below/good.png" in sources
    assert (await suite.run_files(f"{suite.root.as_uri()}/photos.zip")).counts.unchanged == 2


async def test_archives_in_folders_are_unpacked_under_their_own_name(suite: Suite) -> None:
    fill(suite.root, 1)
    (suite.root / "old.ZIP").write_bytes(make_zip({"0.png": png(7)}))
    done = await suite.run_files()
    assert set(suite.peers.items()) == {"0.png", "old.ZIP!/0.png"}
    assert done.counts.created == 2


async def test_archives_can_be_uploaded(suite: Suite) -> None:
    archive = make_zip({f"{number}.png": png(number) for number in range(40)})
    name = await upload(suite, archive)
    done = await suite.run_files(name)
    assert done.counts.created == 40
    picture = await upload(suite, png(1))
    other = await suite.run_files(picture)
    assert await reasons(suite, other) == {picture: ("fetch", "UNSUPPORTED_MEDIA")}


async def upload(suite: Suite, data: bytes) -> str:
    """Upload bytes; return `assets/{asset}`."""
    started = await suite.assets.StartUpload(
        asset_service_pb2.StartUploadRequest(
            size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
    )
    if started.asset:
        return started.asset
    chunk = asset_service_pb2.UploadChunkRequest(upload=started.name, data=data)
    return (await suite.assets.UploadChunk(iter([chunk]))).asset


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        (
            with_link({"a.png": png(1)}, "link.png", "/etc/passwd"),
            {"link.png": ("unpack", "UNSAFE_ARCHIVE")},
        ),
        (
            claiming(png(1, filler=b"x" * 5000), name="liar.png", size=100),
            {"liar.png": ("unpack", "UNSAFE_ARCHIVE")},
        ),
        (
            claiming(png(1), name="short.png", size=90_000),
            {"short.png": ("unpack", "INVALID_CONTENT")},
        ),
        (
            make_zip({"bomb.png": b"\0" * (4 << 20)}),
            {"bomb.png": ("unpack", "UNSAFE_ARCHIVE")},
        ),
        (overlapping(png(1), 3), {"WHOLE": ("unpack", "UNSAFE_ARCHIVE")}),
        (make_zip({"a.png": png(1)})[:-10], {"WHOLE": ("unpack", "INVALID_CONTENT")}),
        (b"PK\x03\x04" + b"\0" * 100, {"WHOLE": ("unpack", "INVALID_CONTENT")}),
    ],
)
async def test_archives_that_lie(
    suite: Suite, archive: bytes, expected: dict[str, tuple[str, str]]
) -> None:
    fill(suite.root, 2)
    (suite.root / "x.zip").write_bytes(archive)
    uri = f"{suite.root.as_uri()}/x.zip"
    done = await suite.run_files(uri, f"{suite.root.as_uri()}/0.png")
    found = await reasons(suite, done)
    assert found == {uri if key == "WHOLE" else key: value for key, value in expected.items()}
    assert "0.png" in suite.peers.items()


async def test_an_archive_that_changes_while_its_job_runs(suite: Suite) -> None:
    (suite.root / "x.zip").write_bytes(make_zip({"a.png": png(1), "b.png": png(2)}))
    job = await suite.create_files(f"{suite.root.as_uri()}/x.zip")
    (suite.root / "x.zip").write_bytes(make_zip({"other.png": png(3)}))
    done = await suite.finish(job)
    if done.counts.failed:  # listed before it changed
        assert set((await reasons(suite, done)).values()) == {("unpack", "SOURCE_CHANGED")}
    assert done.state in {
        job_pb2.Job.STATE_SUCCEEDED,
        job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES,
    }


async def test_a_file_that_vanishes_or_becomes_a_link(suite: Suite, tmp_path: Path) -> None:
    fill(suite.root, 3)
    fill(tmp_path / "outside", 1)

    def change(rpc: str) -> None:
        """Between listing and reading: the runner asks for the collection again."""
        if rpc == "GetCollection" and suite.peers.calls[rpc] == 3:
            (suite.root / "1.png").unlink()
            (suite.root / "2.png").unlink()
            (suite.root / "2.png").symlink_to(tmp_path / "outside" / "0.png")

    suite.peers.on_call = change
    done = await suite.run_files()
    assert await reasons(suite, done) == {
        "1.png": ("fetch", "SOURCE_CHANGED"),
        "2.png": ("fetch", "SOURCE_CHANGED"),
    }
    assert done.counts.created == 1


async def test_folders_given_twice_count_once(suite: Suite) -> None:
    fill(suite.root, 2)
    uri = f"{suite.root.as_uri()}/"
    done = await suite.run_files(uri, uri)
    assert (done.counts.total, done.counts.created, done.counts.skipped) == (4, 2, 2)


async def test_names_that_are_not_text(suite: Suite) -> None:
    (suite.root / os.fsdecode(b"caf\xe9.png")).write_bytes(png(1))
    long = "x" * 250
    deep = suite.root / long / long / long / long
    fill(deep / long, 1)
    done = await suite.run_files()
    assert set(suite.peers.items()) == {"caf\\xe9.png"}
    assert list((await reasons(suite, done)).values()) == [("fetch", "LIMIT_EXCEEDED")]
