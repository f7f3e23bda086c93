"""The asset store in an object store: what the one in a folder promises, and replicas."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import obstore
import pytest

from lookalike_common.errors import (
    BackendUnavailableError,
    HashMismatchError,
    InternalError,
    NotFoundError,
    OffsetMismatchError,
)
from lookalike_ingest.adapters.object_asset_store import ObjectAssetStore
from lookalike_ingest.adapters.object_stores import StoreAccess
from lookalike_ingest.sources.local_cache import LocalCache
from tests.support.object_store import BUCKET, StoreServer, running_store

DATA = os.urandom(300_000)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[StoreServer]:
    with running_store() as started:
        yield started


@pytest.fixture
async def store(server: StoreServer, tmp_path: Path) -> AsyncIterator[ObjectAssetStore]:
    cache = LocalCache(tmp_path, 1 << 30)
    store = make(server, cache)
    yield store
    await store.close()
    cache.close()


def make(
    server: StoreServer, cache: LocalCache, expiry: timedelta = timedelta(hours=1)
) -> ObjectAssetStore:
    access = StoreAccess(f"s3://{BUCKET}/assets/", server.config)
    return ObjectAssetStore(access, cache=cache, upload_expiry=expiry)


def keys(server: StoreServer) -> list[str]:
    return sorted(meta["path"] for chunk in obstore.list(server.client()) for meta in chunk)


async def test_bytes_are_kept_once_a_tenant(store: ObjectAssetStore, server: StoreServer) -> None:
    for tenant in ("ants", "ants", "bees"):
        await store.put(tenant, SHA, DATA)
    assert len(keys(server)) == 2
    found = await store.find("ants", SHA)
    assert found is not None
    assert (found.size, found.name) == (len(DATA), f"assets/{SHA}")
    assert await store.find("wasps", SHA) is None
    with store.open("ants", SHA) as file:
        assert file.read() == DATA
        assert file.seek(-5, 2) == len(DATA) - 5
        assert file.read() == DATA[-5:]
    with pytest.raises(NotFoundError):
        store.open("wasps", SHA)
    assert await store.delete("ants", SHA)
    assert not await store.delete("ants", SHA)
    assert await store.find("bees", SHA)


async def test_no_callers_text_becomes_a_path(store: ObjectAssetStore, server: StoreServer) -> None:
    for evil in ("../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"):
        with pytest.raises(InternalError):
            await store.put("", evil, b"x")
        with pytest.raises(NotFoundError):
            await store.append("", evil, 0, b"x")
        assert await store.find_upload("", evil) is None
    assert keys(server) == []


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (5, 10), (len(DATA) - 3, 3), (7, 250_000)])
async def test_ranges_are_exact(store: ObjectAssetStore, offset: int, length: int) -> None:
    await store.put("", SHA, DATA)
    pieces = [piece async for piece in store.read("", SHA, offset, length)]
    assert b"".join(pieces) == DATA[offset : offset + length]


async def test_uploads_go_on_in_another_replica(
    store: ObjectAssetStore, server: StoreServer, tmp_path: Path
) -> None:
    upload = await store.start_upload("", SHA, len(DATA))
    await store.append("", upload.id, 0, DATA[:777])
    cache = LocalCache(tmp_path, 1 << 30)
    other = make(server, cache)
    again = await other.start_upload("", SHA, len(DATA))
    assert (again.id, again.committed, again.complete) == (upload.id, 777, False)
    with pytest.raises(OffsetMismatchError) as caught:
        await other.append("", upload.id, 0, DATA)
    assert caught.value.metadata == {"committed_bytes": "777"}
    await other.append("", upload.id, 777, DATA[777:100_000])
    done = await store.append("", upload.id, 100_000, DATA[100_000:])
    assert (done.complete, done.committed) == (True, len(DATA))
    with other.open("", SHA) as file:
        assert file.read() == DATA
    assert len(keys(server)) == 2, "the pieces are removed once they are one"
    assert (await other.append("", upload.id, len(DATA), b"")).complete
    await store.delete("", SHA)
    assert await store.find_upload("", upload.id) is None
    assert (await store.start_upload("", SHA, len(DATA))).committed == 0
    await other.close()
    cache.close()


async def test_other_bytes_than_announced_begin_anew(store: ObjectAssetStore) -> None:
    """And no asset is ever seen under a hash that it does not have."""
    upload = await store.start_upload("", SHA, len(DATA))
    await store.append("", upload.id, 0, DATA[:10])
    with pytest.raises(HashMismatchError, match="send them again"):
        await store.append("", upload.id, 10, b"x" * (len(DATA) - 10))
    assert await store.find("", SHA) is None
    stands = await store.find_upload("", upload.id)
    assert stands is not None
    assert stands.committed == 0
    with pytest.raises(HashMismatchError):
        await store.append("", upload.id, 0, DATA + b"x")
    with pytest.raises(HashMismatchError):
        await store.put_file("", SHA, lambda: BytesIO(DATA[1:]))
    assert await store.find("", SHA) is None
    await store.put_file("", SHA, lambda: BytesIO(DATA))
    assert (await store.start_upload("", SHA, len(DATA))).complete


async def test_uploads_are_nobody_elses_and_expire(
    store: ObjectAssetStore, server: StoreServer, tmp_path: Path
) -> None:
    upload = await store.start_upload("ants", SHA, len(DATA))
    await store.append("ants", upload.id, 0, DATA[:10])
    assert await store.find_upload("bees", upload.id) is None
    with pytest.raises(NotFoundError):
        await store.append("bees", upload.id, 10, DATA)
    assert await store.delete_expired() == 0
    cache = LocalCache(tmp_path, 1 << 30)
    later = make(server, cache, expiry=timedelta(0))
    assert await later.find_upload("ants", upload.id) is None
    assert await later.delete_expired() == 1
    assert keys(server) == []
    await later.close()
    cache.close()


async def test_a_store_that_is_away(store: ObjectAssetStore, server: StoreServer) -> None:
    """Jobs wait for it."""
    await store.put("", SHA, DATA)
    server.denied = ""
    for call in (store.find("", SHA), store.put("", SHA, DATA), store.start_upload("", SHA, 1)):
        with pytest.raises(BackendUnavailableError, match="cannot be reached"):
            await call
    with pytest.raises(BackendUnavailableError):
        store.open("", SHA)
