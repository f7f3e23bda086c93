"""Assets: uploads that break off and go on, ranges, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator

import grpc
import grpc.aio
import pytest

from lookalike.asset.v1 import asset_pb2
from lookalike.asset.v1 import asset_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import entity_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.channels import open_channel
from lookalike_common.errors import (
    CollectionNotReadyError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
)
from lookalike_ingest.adapters.search_client import SearchClient
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_deletions import SqlDeletionStore
from lookalike_ingest.adapters.sql_tables import METADATA
from lookalike_ingest.cascade import Cascade
from lookalike_ingest.settings import IngestSettings
from tests.integration.ingest.conftest import Suite, caught, running_ingest
from tests.support.ingest_peers import COLLECTION, Peers
from tests.support.pictures import fill, png

DATA = bytes(range(256)) * 4000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def name_of(data: bytes) -> str:
    return f"assets/{digest(data)}"


async def start(suite: Suite, data: bytes, *, sha256: str = "") -> asset_pb2.Upload:
    return await suite.assets.StartUpload(
        pb.StartUploadRequest(size_bytes=len(data), sha256=sha256 or digest(data))
    )


def chunks(
    upload: asset_pb2.Upload, data: bytes, *, start: int = 0, size: int = 100_000
) -> Iterator[pb.UploadChunkRequest]:
    for offset in range(start, len(data), size):
        yield pb.UploadChunkRequest(
            upload=upload.name if offset == start else "",
            write_offset=offset,
            data=data[offset : offset + size],
        )


async def upload(suite: Suite, data: bytes) -> asset_pb2.Upload:
    return await suite.assets.UploadChunk(chunks(await start(suite, data), data))


async def read(suite: Suite, data: bytes, offset: int = 0, limit: int = 0) -> bytes:
    request = pb.ReadAssetRequest(name=name_of(data), read_offset=offset, read_limit=limit)
    replies = [reply async for reply in suite.assets.ReadAsset(request)]
    assert replies[0].asset.size_bytes == len(data)
    assert not any(reply.HasField("asset") for reply in replies[1:])
    return b"".join(reply.data for reply in replies)


async def test_an_upload_becomes_an_asset(suite: Suite) -> None:
    begun = await start(suite, DATA)
    assert (begun.committed_bytes, begun.size_bytes, begun.asset) == (0, len(DATA), "")
    assert begun == await start(suite, DATA)
    done = await suite.assets.UploadChunk(chunks(begun, DATA))
    assert (done.committed_bytes, done.asset) == (len(DATA), name_of(DATA))
    assert (await suite.assets.GetUpload(pb.GetUploadRequest(name=begun.name))) == done
    asset = await suite.assets.GetAsset(pb.GetAssetRequest(name=done.asset))
    assert (asset.sha256, asset.size_bytes) == (digest(DATA), len(DATA))
    assert asset.media_type == "application/octet-stream"
    assert await read(suite, DATA) == DATA
    assert (await start(suite, DATA)).asset == done.asset


async def test_kinds_are_told_by_the_bytes(suite: Suite) -> None:
    await upload(suite, png(1))
    asset = await suite.assets.GetAsset(pb.GetAssetRequest(name=name_of(png(1))))
    assert (asset.media_type, asset.modality) == ("image/png", content_pb2.MODALITY_IMAGE)


@pytest.mark.parametrize(
    ("offset", "limit"), [(0, 1), (5, 10), (len(DATA) - 3, 100), (len(DATA), 0), (100, 0)]
)
async def test_ranges_are_exact(suite: Suite, offset: int, limit: int) -> None:
    await upload(suite, DATA)
    expected = DATA[offset : offset + limit] if limit else DATA[offset:]
    assert await read(suite, DATA, offset, limit) == expected


async def test_reading_behind_the_end(suite: Suite) -> None:
    await upload(suite, DATA)
    with caught(grpc.StatusCode.OUT_OF_RANGE, "INVALID_FIELD", "read_offset"):
        await read(suite, DATA, len(DATA) + 1)


async def test_a_broken_stream_keeps_what_arrived(suite: Suite) -> None:
    begun = await start(suite, DATA)
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[pb.UploadChunkRequest]:
        for request in list(chunks(begun, DATA))[:4]:
            yield request
        arrived.set()
        await asyncio.Event().wait()

    call = suite.assets.UploadChunk(endless())
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    stands = await suite.assets.GetUpload(pb.GetUploadRequest(name=begun.name))
    kept = stands.committed_bytes
    assert kept <= 400_000
    done = await suite.assets.UploadChunk(chunks(begun, DATA, start=kept))
    assert done.asset == name_of(DATA)


async def test_another_offset_is_refused_with_the_right_one(suite: Suite) -> None:
    begun = await start(suite, DATA)
    with caught(grpc.StatusCode.FAILED_PRECONDITION, "OFFSET_MISMATCH", "write_offset"):
        await suite.assets.UploadChunk(chunks(begun, DATA, start=7, size=len(DATA)))


async def test_other_bytes_than_announced_begin_anew(suite: Suite) -> None:
    begun = await start(suite, DATA, sha256="0" * 64)
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "HASH_MISMATCH"):
        await suite.assets.UploadChunk(chunks(begun, DATA))
    stands = await suite.assets.GetUpload(pb.GetUploadRequest(name=begun.name))
    assert (stands.committed_bytes, stands.asset) == (0, "")
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "HASH_MISMATCH", "data"):
        await suite.assets.UploadChunk(chunks(begun, DATA + b"more", size=3_000_000))


async def test_deleting_an_asset(suite: Suite) -> None:
    done = await upload(suite, DATA)
    await suite.assets.DeleteAsset(pb.DeleteAssetRequest(name=done.asset))
    for call in (
        suite.assets.GetAsset(pb.GetAssetRequest(name=done.asset)),
        suite.assets.DeleteAsset(pb.DeleteAssetRequest(name=done.asset)),
        suite.assets.GetUpload(pb.GetUploadRequest(name=done.name)),
    ):
        with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await call
    with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await read(suite, DATA)
    assert (await upload(suite, DATA)).asset == done.asset


async def test_deleting_an_asset_deletes_what_was_made_from_it(suite: Suite) -> None:
    other = "collections/more"
    suite.peers.collections.add(other)
    fill(suite.root, 3)
    source = job_pb2.FilesSource(uris=[f"{suite.root.as_uri()}/"])
    for collection in (COLLECTION, other):
        await suite.finish(await suite.create(job_pb2.Job(collection=collection, files=source)))
    assert len(suite.peers.entities) == 6
    suite.peers.collections.add("collections/a")
    suite.peers.failures["ListEntities"] = [NotFoundError("a collection that goes meanwhile")]
    await suite.assets.DeleteAsset(pb.DeleteAssetRequest(name=name_of(png(1))))
    assert suite.peers.items() == {"0.png": 2, "2.png": 2}


@pytest.mark.parametrize("error", [CollectionNotReadyError("released"), OverloadedError("full")])
async def test_entities_that_cannot_be_reached_go_later(
    settings: IngestSettings, peers: Peers, error: LookalikeError
) -> None:
    async with running_ingest(settings, peers) as suite:
        fill(suite.root, 2)
        await suite.run_files()
        peers.failures["ListEntities"] = [error]
        await suite.assets.DeleteAsset(pb.DeleteAssetRequest(name=name_of(png(1))))
        assert len(peers.items()) == 2
        with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await suite.assets.GetAsset(pb.GetAssetRequest(name=name_of(png(1))))
        name = next(key for key, each in peers.entities.items() if each.item == "1.png")
        again = entity_pb2.Entity(
            name=f"{COLLECTION}/entities/new", asset=peers.entities[name].asset, generation=2**60
        )
        peers.entities["", again.name] = again
    file = f"sqlite:///{settings.data_dir / 'jobs.sqlite'}"
    url = settings.database_url.get_secret_value() if settings.database_url else file
    database = SqlDatabase(url, METADATA)
    async with open_channel(settings.search) as channel:
        store = SqlDeletionStore(database)
        await Cascade(store, SearchClient(channel)).go_on()
    assert not await store.list_deletions(9)
    await database.close()
    assert sorted(each.item for each in peers.entities.values()) == ["", "0.png"]


async def test_an_asset_that_is_too_large(suite: Suite) -> None:
    size = suite.settings.assets.max_bytes + 1
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED", "size_bytes"):
        await suite.assets.StartUpload(pb.StartUploadRequest(size_bytes=size, sha256="0" * 64))


async def test_an_upload_that_nobody_began(suite: Suite) -> None:
    for name in ("uploads/none", f"uploads/{'0' * 32}"):
        with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await suite.assets.UploadChunk(iter([pb.UploadChunkRequest(upload=name)]))
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "upload"):
        await suite.assets.UploadChunk(iter([pb.UploadChunkRequest(data=b"x")]))
    with caught(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "upload"):
        await suite.assets.UploadChunk(iter([]))


async def test_an_uploaded_asset_is_ingested_without_a_copy(suite: Suite) -> None:
    done = await upload(suite, png(1))
    job = job_pb2.Job(collection=COLLECTION)
    job.items.items.add(item="mine").content.asset = done.asset
    created = await suite.create(job)
    assert created.items.items[0].content.asset == done.asset
    assert (await suite.finish(created)).counts.created == 1
    (entity,) = suite.peers.entities.values()
    assert (entity.item, entity.asset) == ("mine", done.asset)


async def test_what_was_ingested_can_be_read_again(suite: Suite) -> None:
    data = png(3)
    (suite.root / "a.png").write_bytes(data)
    await suite.run_files()
    assert await read(suite, data) == data
