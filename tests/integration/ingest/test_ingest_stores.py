"""Object stores: what lies below a prefix, what changes meanwhile, and credentials that end."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from pydantic import SecretStr

from lookalike.asset.v1 import asset_service_pb2
from lookalike.ingest.v1 import job_pb2
from lookalike_common.status import error_from_status
from lookalike_common.testing import assert_eventually
from lookalike_ingest.settings import IngestSettings, StoreSettings
from tests.integration.ingest.conftest import Suite, caught, running_ingest
from tests.support.ingest_peers import COLLECTION, Peers
from tests.support.object_store import BUCKET, StoreServer, running_store
from tests.support.pictures import png
from tests.support.tars import make_tar
from tests.support.zips import make_zip

PREFIX = f"s3://{BUCKET}/shared/"
State = job_pb2.Job.State


@pytest.fixture
def store() -> Iterator[StoreServer]:
    with running_store() as started:
        yield started


@pytest.fixture
async def suite(settings: IngestSettings, peers: Peers, store: StoreServer) -> AsyncIterator[Suite]:
    config = store.config
    access = StoreSettings(
        prefix=PREFIX,
        endpoint=config.pop("endpoint"),
        region=config.pop("region"),
        credentials={key: SecretStr(value) for key, value in config.items()},
    )
    settings = settings.model_copy(update={"stores": (access,)})
    async with running_ingest(settings, peers) as started:
        yield started


async def reasons(suite: Suite, job: job_pb2.Job) -> dict[str, tuple[str, str]]:
    """Return step and reason of each failure, by item."""
    return {
        failure.item: (failure.step, error_from_status(failure.error).reason)
        for failure in await suite.failures(job)
    }


async def test_all_that_lies_below_a_prefix(suite: Suite, store: StoreServer) -> None:
    """As in a folder: files, archives, what is compressed; also what does not fit into memory."""
    large = make_zip({"x.png": png(7), "filler.bin": os.urandom(5 << 20)})
    store.put(
        {f"shared/cats/{n}.png": png(n) for n in range(3)}
        | {
            "shared/cats/Ü & b+%41.png": png(3),
            "shared/cats/more.tar.gz": gzip.compress(make_tar({"a.png": png(4), "b.png": png(5)})),
            "shared/cats/one.png.gz": gzip.compress(png(6)),
            "shared/cats/large.zip": large,
            "shared/cats/notes.txt": b"none",
            "shared/cats/folder/": b"",
            "shared/dogs/a.png": png(8),
            "secret/a.png": png(9),
        }
    )
    done = await suite.run_files(f"{PREFIX}cats/")
    assert await reasons(suite, done) == {}
    assert set(suite.peers.items()) == {
        *(f"{n}.png" for n in range(3)),
        "Ü & b+%41.png",
        "more.tar.gz!/a.png",
        "more.tar.gz!/b.png",
        "one.png.gz",
        "large.zip!/x.png",
    }
    assert done.counts.skipped == 2
    (found,) = [each for each in suite.peers.entities.values() if each.item == "0.png"]
    assert found.source_uri == f"{PREFIX}cats/0.png"
    again = await suite.run_files(f"{PREFIX}cats/")
    assert (again.counts.unchanged, again.counts.created) == (8, 0)


async def test_one_object_and_globs(suite: Suite, store: StoreServer) -> None:
    store.put({"shared/a.png": png(1), "shared/x.zip": make_zip({"b.png": png(2)})})
    done = await suite.run_files(f"{PREFIX}a.png", f"{PREFIX}x.zip")
    assert set(suite.peers.items()) == {"a.png", "b.png"}
    assert done.counts.created == 2
    source = job_pb2.FilesSource(uris=[PREFIX], exclude=["*.zip"])
    store.requests.clear()
    done = await suite.finish(await suite.create(job_pb2.Job(collection=COLLECTION, files=source)))
    assert (done.counts.unchanged, done.counts.skipped) == (1, 1)
    assert not [path for _, path, _ in store.requests if "x.zip" in path]


async def test_tables_whose_rows_refer_to_objects(suite: Suite, store: StoreServer) -> None:
    rows = f"id,file\none,cats/a b.png\ntwo,{PREFIX}cats/c.png\nthree,s3://{BUCKET}/secret.png\n"
    store.put(
        {
            "shared/list.csv.gz": gzip.compress(rows.encode()),
            "shared/cats/a b.png": png(1),
            "shared/cats/c.png": png(2),
            "secret.png": png(3),
        }
    )
    table = job_pb2.TableSource(uri=f"{PREFIX}list.csv.gz", columns={"item": "id", "uri": "file"})
    done = await suite.finish(await suite.create(job_pb2.Job(collection=COLLECTION, table=table)))
    assert await reasons(suite, done) == {"three": ("fetch", "LOCATION_NOT_ALLOWED")}
    assert set(suite.peers.items()) == {"one", "two"}


async def test_what_is_of_no_use_is_not_brought(suite: Suite, store: StoreServer) -> None:
    store.put({"shared/film.iso": os.urandom(6 << 20), "shared/huge.png": png(1) + bytes(40 << 20)})
    done = await suite.run_files(PREFIX)
    assert await reasons(suite, done) == {"huge.png": ("decode", "LIMIT_EXCEEDED")}
    assert done.counts.skipped == 1
    ranges = {found for method, _, found in store.requests if method == "GET" and found}
    assert ranges == {"bytes=0-65535"}
    assert not list((suite.settings.data_dir / "cache").rglob("*/[0-9a-f]*[!r]"))


async def test_objects_that_change_or_vanish_meanwhile(suite: Suite, store: StoreServer) -> None:
    store.put({f"shared/{n}.png": png(n) for n in range(4)})

    def change(rpc: str) -> None:
        """Between listing and reading: the runner asks for the collection again."""
        if rpc == "GetCollection" and suite.peers.calls[rpc] == 3:
            store.put({"shared/1.png": png(11)})
            store.delete("shared/2.png")
            store.denied = "/3.png"

    suite.peers.on_call = change
    done = await suite.run_files(PREFIX)
    assert await reasons(suite, done) == {
        "1.png": ("fetch", "SOURCE_CHANGED"),
        "2.png": ("fetch", "SOURCE_CHANGED"),
        "3.png": ("fetch", "LOCATION_NOT_ALLOWED"),
    }
    assert done.counts.created == 1


async def test_a_job_waits_while_its_credentials_are_refused(
    suite: Suite, store: StoreServer
) -> None:
    store.put({f"shared/{n}.png": png(n) for n in range(4)})

    async def waits_for(job: job_pb2.Job, words: str) -> None:
        async def waits() -> bool:
            now = await suite.get(job)
            return now.state == State.STATE_WAITING and words in now.state_reason

        await assert_eventually(waits, 20)

    store.denied = ""
    listing = await suite.create_files(PREFIX)
    await waits_for(listing, f"source: the store {PREFIX} refuses its credentials")
    store.denied = None
    assert (await suite.finish(listing)).counts.created == 4

    def revoke(rpc: str) -> None:
        if rpc == "GetCollection" and suite.peers.calls[rpc] == reading_at:
            store.denied = ""

    store.put({f"shared/{n}.png": png(10 + n) for n in range(4)})
    reading_at = suite.peers.calls["GetCollection"] + 3
    suite.peers.on_call = revoke
    reading = await suite.create_files(PREFIX)
    await waits_for(reading, f"source: the store {PREFIX} refuses its credentials")
    store.denied = None
    done = await suite.finish(reading)
    assert (done.counts.updated, done.counts.failed) == (4, 0)


async def test_credentials_that_are_good_again_when_they_are_looked_at(
    suite: Suite, store: StoreServer
) -> None:
    store.put({f"shared/{n}.png": png(n) for n in range(4)})
    store.denied, store.refusals = "/2.png", 1
    done = await suite.run_files(PREFIX)
    assert store.refusals == 0
    assert (done.counts.created, done.counts.failed) == (4, 0)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"s3://{BUCKET}/", "LOCATION_NOT_ALLOWED"),
        (f"s3://{BUCKET}/secret/a.png", "LOCATION_NOT_ALLOWED"),
        (f"s3://{BUCKET}/shared-not/a.png", "LOCATION_NOT_ALLOWED"),
        ("s3://other/shared/a.png", "LOCATION_NOT_ALLOWED"),
        ("gs://photos/shared/a.png", "LOCATION_NOT_ALLOWED"),
        (f"{PREFIX}../secret/a.png", "INVALID_FIELD"),
        (f"{PREFIX}a//b.png", "INVALID_FIELD"),
        (f"{PREFIX}./b.png", "INVALID_FIELD"),
        (f"S3://{BUCKET}/shared/a.png", "LOCATION_NOT_ALLOWED"),
    ],
)
async def test_what_is_under_no_configured_prefix(suite: Suite, uri: str, reason: str) -> None:
    with caught(grpc.StatusCode.INVALID_ARGUMENT, reason, "job.files.uris[0]"):
        await suite.create_files(uri)


async def test_prefixes_with_nothing_below(suite: Suite) -> None:
    done = await suite.run_files(f"{PREFIX}none/", f"{PREFIX}none.png")
    assert await reasons(suite, done) == {
        f"{PREFIX}none/": ("fetch", "RESOURCE_NOT_FOUND"),
        f"{PREFIX}none.png": ("fetch", "RESOURCE_NOT_FOUND"),
    }


async def test_assets_are_kept_in_a_store(
    settings: IngestSettings, peers: Peers, store: StoreServer
) -> None:
    """What a job reads becomes an asset there, and can be ingested again from there."""
    config = store.config
    kept = StoreSettings(
        prefix=f"s3://{BUCKET}/assets/",
        endpoint=config.pop("endpoint"),
        region=config.pop("region"),
        credentials={key: SecretStr(value) for key, value in config.items()},
    )
    assets = settings.assets.model_copy(update={"store": kept})
    async with running_ingest(settings.model_copy(update={"assets": assets}), peers) as suite:
        (suite.root / "a.png").write_bytes(png(1))
        data = make_tar({"b.png": png(2), "c.png": png(3)})
        await suite.run_files()
        begun = await suite.assets.StartUpload(
            asset_service_pb2.StartUploadRequest(
                size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
            )
        )
        chunk = asset_service_pb2.UploadChunkRequest(upload=begun.name, data=data)
        uploaded = await suite.assets.UploadChunk(iter([chunk]))
        done = await suite.run_files(uploaded.asset)
        assert done.counts.created == 2
        assert set(suite.peers.items()) == {"a.png", "b.png", "c.png"}
        assert not list(suite.settings.data_dir.rglob("tenants"))
        (one,) = [each for each in suite.peers.entities.values() if each.item == "a.png"]
        request = asset_service_pb2.ReadAssetRequest(name=one.asset)
        replies = [reply async for reply in suite.assets.ReadAsset(request)]
        assert b"".join(reply.data for reply in replies) == png(1)
