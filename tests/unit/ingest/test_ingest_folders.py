"""The asset store and the spool on real folders."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from lookalike_common.errors import (
    InternalError,
    NotFoundError,
    OffsetMismatchError,
    SourceChangedError,
    StorageFullError,
)
from lookalike_common.testing import assert_eventually
from lookalike_ingest.adapters.folder_asset_store import FolderAssetStore
from lookalike_ingest.adapters.folder_spool import FolderSpool
from lookalike_ingest.asset_keys import asset_path
from lookalike_ingest.places import SpoolPlace

DATA = b"some bytes" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


def make(folder: Path, expiry: timedelta = timedelta(hours=1), free: int = 0) -> FolderAssetStore:
    return FolderAssetStore(folder, upload_expiry=expiry, min_free_bytes=free)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FolderAssetStore]:
    store = make(tmp_path)
    await store.open_folder()
    yield store
    await store.close()


def count_files(folder: Path) -> int:
    return len([file for file in folder.rglob("*") if file.is_file()])


async def test_bytes_are_kept_once_a_tenant(store: FolderAssetStore, tmp_path: Path) -> None:
    for tenant in ("ants", "ants", "bees"):
        await store.put(tenant, SHA, DATA)
    assert count_files(tmp_path) == 2
    found = await store.find("ants", SHA)
    assert found is not None
    assert (found.size, found.name) == (len(DATA), f"assets/{SHA}")
    assert await store.find("wasps", SHA) is None
    with store.open("ants", SHA) as file:
        assert file.read() == DATA
    assert await store.delete("ants", SHA)
    assert not await store.delete("ants", SHA)
    assert await store.find("bees", SHA)


async def test_a_file_is_closed_though_its_reader_left_while_it_was_opened(
    store: FolderAssetStore, tmp_path: Path
) -> None:
    path = tmp_path / asset_path("ants", SHA)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)  # opening it waits for a writer
    reading = asyncio.create_task(anext(store.read("ants", SHA, 0, 1)))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    writer = await asyncio.to_thread(os.open, path, os.O_WRONLY)

    def nobody_reads() -> bool:
        try:
            os.write(writer, b"-")
        except BrokenPipeError:
            return True
        return False

    await assert_eventually(nobody_reads)
    os.close(writer)


async def test_no_callers_text_becomes_a_path(store: FolderAssetStore, tmp_path: Path) -> None:
    for evil in ("../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"):
        with pytest.raises(InternalError):
            await store.put("", evil, b"x")
        with pytest.raises(NotFoundError):
            await store.append("", evil, 0, b"x")
        assert await store.find_upload("", evil) is None
    await store.put("../../evil", SHA, DATA)
    assert all(len(folder.name) == 32 for folder in (tmp_path / "tenants").iterdir())


async def test_a_read_goes_on_when_the_asset_is_deleted(store: FolderAssetStore) -> None:
    large = bytes(3 << 20)
    sha = hashlib.sha256(large).hexdigest()
    await store.put("", sha, large)
    pieces = store.read("", sha, 0, len(large))
    first = await anext(aiter(pieces))
    await store.delete("", sha)
    rest = [piece async for piece in pieces]
    assert first + b"".join(rest) == large
    with pytest.raises(NotFoundError):
        store.open("", sha)


async def test_a_reopened_store_knows_where_uploads_stand(tmp_path: Path) -> None:
    first = make(tmp_path)
    await first.open_folder()
    upload = await first.start_upload("", SHA, len(DATA))
    await first.append("", upload.id, 0, DATA[:777])
    await first.close()
    second = make(tmp_path)
    await second.open_folder()
    again = await second.start_upload("", SHA, len(DATA))
    assert (again.id, again.committed, again.complete) == (upload.id, 777, False)
    with pytest.raises(OffsetMismatchError) as caught:
        await second.append("", upload.id, 0, DATA)
    assert caught.value.metadata == {"committed_bytes": "777"}
    done = await second.append("", upload.id, 777, DATA[777:])
    assert (done.complete, done.committed) == (True, len(DATA))
    await second.flush(upload.id)
    await second.close()


async def test_a_crash_before_the_last_rename_loses_nothing(
    store: FolderAssetStore, tmp_path: Path
) -> None:
    """All bytes had arrived, but the upload had not yet become the asset."""
    upload = await store.start_upload("", SHA, len(DATA))
    (tmp_path / "uploads" / upload.id / "data").write_bytes(DATA)
    stands = await store.find_upload("", upload.id)
    assert stands is not None
    assert (stands.committed, stands.complete) == (len(DATA), False)
    assert (await store.append("", upload.id, len(DATA), b"")).complete


async def test_uploads_are_nobody_elses(store: FolderAssetStore) -> None:
    upload = await store.start_upload("ants", SHA, len(DATA))
    assert await store.find_upload("bees", upload.id) is None
    with pytest.raises(NotFoundError):
        await store.append("bees", upload.id, 0, DATA)
    assert (await store.start_upload("bees", SHA, len(DATA))).id != upload.id


async def test_uploads_expire(tmp_path: Path) -> None:
    store = make(tmp_path, expiry=timedelta(hours=1))
    await store.open_folder()
    upload = await store.start_upload("", SHA, len(DATA))
    kept = await store.start_upload("", SHA, 5)
    for file in (tmp_path / "uploads" / upload.id).iterdir():
        os.utime(file, (0, 0))
    assert await store.find_upload("", upload.id) is None
    assert await store.delete_expired() == 1
    assert await store.find_upload("", kept.id)
    assert (await store.start_upload("", SHA, len(DATA))).committed == 0
    await store.close()


async def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    store = make(tmp_path, free=2**60)
    await store.open_folder()
    with pytest.raises(StorageFullError):
        await store.start_upload("", SHA, len(DATA))
    with pytest.raises(StorageFullError):
        await store.put("", SHA, DATA)
    await store.close()


async def test_the_spool_keeps_pieces_by_their_place(tmp_path: Path) -> None:
    spool = FolderSpool(tmp_path / "spool")
    await spool.write("a", [b"first", b"second"])
    assert spool.read("a", SpoolPlace(5, 6, "image")) == b"second"
    await spool.write("b", [b"x"])
    (tmp_path / "spool" / "half.new").write_bytes(b"x")
    await spool.keep_only(["a"])
    assert [file.name for file in (tmp_path / "spool").iterdir()] == ["a.spool"]
    await spool.delete("a")
    await spool.delete("a")
    with pytest.raises(SourceChangedError):
        spool.read("a", SpoolPlace(0, 1, "image"))


async def test_another_replica_starts_while_one_writes(
    store: FolderAssetStore, tmp_path: Path
) -> None:
    """They share the folder: only what is too old for anybody to be at work on it is removed."""
    begun, left = tmp_path / "new" / "begun", tmp_path / "new" / "left"
    begun.write_bytes(b"half")
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    other = make(tmp_path)
    await other.open_folder()
    assert begun.exists()
    assert not left.exists()
    await other.close()
    await store.put("ants", SHA, DATA)
