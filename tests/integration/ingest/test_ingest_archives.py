"""Archives of all kinds, and compressed files, wherever they lie."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Callable

import pytest
import zstandard

from lookalike.asset.v1 import asset_service_pb2
from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import entity_pb2
from lookalike_common.status import error_from_status
from tests.integration.ingest.conftest import Suite
from tests.support.ingest_peers import COLLECTION
from tests.support.pictures import png
from tests.support.tars import make_tar, special
from tests.support.zips import make_zip

Pack = Callable[[dict[str, bytes]], bytes]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


ARCHIVES: dict[str, Pack] = {
    "zip": make_zip,
    "tar": make_tar,
    "tar.gz": lambda members: gzip.compress(make_tar(members)),
    "tgz": lambda members: gzip.compress(make_tar(members)),
    "tar.zst": lambda members: zstd(make_tar(members)),
}


async def reasons(suite: Suite, job: job_pb2.Job) -> dict[str, tuple[str, str]]:
    """Return step and reason of each failure, by item."""
    return {
        failure.item: (failure.step, error_from_status(failure.error).reason)
        for failure in await suite.failures(job)
    }


def entity(suite: Suite, item: str) -> entity_pb2.Entity:
    (found,) = [each for each in suite.peers.entities.values() if each.item == item]
    return found


async def test_archives_and_packed_files_in_a_folder(suite: Suite) -> None:
    for number, (suffix, pack) in enumerate(ARCHIVES.items()):
        members = {f"x/{n}.png": png(100 * number + n) for n in range(40)}
        (suite.root / f"photos.{suffix}").write_bytes(pack(members | {"notes.txt": b"none"}))
    (suite.root / "one.png.gz").write_bytes(gzip.compress(png(1)))
    (suite.root / "two.png.zst").write_bytes(zstd(png(2)))
    (suite.root / "bad.png.gz").write_bytes(gzip.compress(png(3))[:-9])
    (suite.root / "other.gz").write_bytes(gzip.compress(b"of no kind that is taken here"))
    done = await suite.run_files()
    assert await reasons(suite, done) == {"bad.png.gz": ("unpack", "INVALID_CONTENT")}
    assert (done.counts.created, done.counts.skipped) == (5 * 40 + 2, 5 + 1)
    assert set(suite.peers.items().values()) == {1}
    last = entity(suite, "photos.tar.zst!/x/39.png")
    assert last.asset == f"assets/{hashlib.sha256(png(439)).hexdigest()}"
    assert last.source_uri == f"{suite.root.as_uri()}/photos.tar.zst!/x/39.png"
    assert entity(suite, "one.png.gz").asset == f"assets/{hashlib.sha256(png(1)).hexdigest()}"
    again = await suite.run_files()
    assert (again.counts.created, again.counts.unchanged) == (0, 202)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.zst"])
async def test_an_archive_alone_is_known_by_its_bytes(suite: Suite, suffix: str) -> None:
    """Also as an asset, which has no name."""
    data = ARCHIVES[suffix]({"a.png": png(1), "x/b.png": png(2)})
    (suite.root / "anything").write_bytes(data)
    done = await suite.run_files(f"{suite.root.as_uri()}/anything")
    assert done.counts.created == 2
    assert set(suite.peers.items()) == {"a.png", "x/b.png"}
    begun = await suite.assets.StartUpload(
        asset_service_pb2.StartUploadRequest(
            size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
    )
    chunk = asset_service_pb2.UploadChunkRequest(upload=begun.name, data=data)
    uploaded = await suite.assets.UploadChunk(iter([chunk]))
    again = await suite.run_files(uploaded.asset)
    assert again.counts.unchanged == 2


async def test_what_tar_archives_are_abused_for(suite: Suite) -> None:
    others = [
        special("link.png", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard.png", tarfile.LNKTYPE, "good.png"),
        special("dev.png", tarfile.CHRTYPE),
    ]
    members = {"good.png": png(1), "../out.png": png(2), "in.zip": make_zip({"a.png": png(3)})}
    (suite.root / "bad.tar.gz").write_bytes(gzip.compress(make_tar(members, others=others)))
    whole = make_tar({"first.png": png(4), "cut.png": png(5)})
    (suite.root / "cut.tar").write_bytes(whole[: 3 * 512 + 20])
    (suite.root / "none.tar").write_bytes(b"this is no archive" * 100)
    (suite.root / "bomb.tar.zst").write_bytes(zstd(make_tar({"zeros.png": bytes(20 << 20)})))
    (suite.root / "empty.tar").write_bytes(make_tar({}))
    done = await suite.run_files()
    assert await reasons(suite, done) == {
        "bad.tar.gz!/link.png": ("unpack", "UNSAFE_ARCHIVE"),
        "bad.tar.gz!/hard.png": ("unpack", "UNSAFE_ARCHIVE"),
        "bad.tar.gz!/dev.png": ("unpack", "UNSAFE_ARCHIVE"),
        "bad.tar.gz!/../out.png": ("unpack", "UNSAFE_ARCHIVE"),
        "bad.tar.gz!/in.zip": ("unpack", "UNSAFE_ARCHIVE"),
        "cut.tar": ("unpack", "INVALID_CONTENT"),
        "cut.tar!/cut.png": ("unpack", "INVALID_CONTENT"),
        "none.tar": ("unpack", "INVALID_CONTENT"),
        "bomb.tar.zst": ("unpack", "UNSAFE_ARCHIVE"),
    }
    assert set(suite.peers.items()) == {"bad.tar.gz!/good.png", "cut.tar!/first.png"}


async def test_globs_narrow_archives_too(suite: Suite) -> None:
    (suite.root / "cats").mkdir()
    members = {"a.png": png(1), "draft-b.png": png(2), "x/c.png": png(3)}
    (suite.root / "cats" / "x.tar").write_bytes(make_tar(members))
    (suite.root / "drafts.zip").write_bytes(b"never opened, so its damage is never seen")
    source = job_pb2.FilesSource(
        uris=[f"{suite.root.as_uri()}/"], include=["cats/**"], exclude=["draft*"]
    )
    done = await suite.finish(await suite.create(job_pb2.Job(collection=COLLECTION, files=source)))
    assert set(suite.peers.items()) == {"cats/x.tar!/a.png", "cats/x.tar!/x/c.png"}
    assert (done.counts.created, done.counts.skipped, done.counts.failed) == (2, 2, 0)


async def test_a_packed_archive_that_changes_while_its_job_runs(suite: Suite) -> None:
    path = suite.root / "x.tar.gz"
    path.write_bytes(gzip.compress(make_tar({"a.png": png(1), "b.png": png(2)})))

    def change(rpc: str) -> None:
        """Between listing and reading: the runner asks for the collection again."""
        if rpc == "GetCollection" and suite.peers.calls[rpc] == 3:
            path.write_bytes(gzip.compress(make_tar({"a.png": png(3), "b.png": png(4)})))

    suite.peers.on_call = change
    done = await suite.run_files()
    assert set((await reasons(suite, done)).values()) == {("unpack", "SOURCE_CHANGED")}
    assert done.counts.failed == 2
