"""Ingest with the real search service on Milvus: nothing stale stays, no encoder is confused."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf.json_format import MessageToDict
from pydantic import ByteSize

from lookalike.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc, job_pb2
from lookalike.search.v1 import collection_pb2, entity_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.channels import open_channel
from lookalike_common.errors import (
    Code,
    EncoderMismatchError,
    LookalikeError,
    SourceChangedError,
)
from lookalike_common.ids import entity_id
from lookalike_common.server import GrpcServer
from lookalike_common.status import error_from_status
from lookalike_common.testing import loopback, running
from lookalike_ingest.adapters.encoder_client import EncoderClient as EncoderAdapter
from lookalike_ingest.adapters.folder_asset_store import FolderAssetStore
from lookalike_ingest.adapters.search_client import SearchClient as SearchAdapter
from lookalike_ingest.app import build as build_ingest
from lookalike_ingest.batches.parts import ChunkLimits
from lookalike_ingest.batches.patience import Backoff, Patience
from lookalike_ingest.batches.pipeline import Pipeline
from lookalike_ingest.batches.preparation import Preparation, Prepared
from lookalike_ingest.batches.stopwatch import Stopwatch
from lookalike_ingest.entities import (
    Collection,
    EntityStore,
    EntityWrite,
    ListedEntity,
    StoredEntity,
    Sweep,
)
from lookalike_ingest.job import (
    FilesSource,
    Item,
    ItemProblem,
    ItemResult,
    Job,
    JobSpec,
    Outcome,
)
from lookalike_ingest.places import FilePlace
from lookalike_ingest.problem import Problem
from lookalike_ingest.settings import AssetSettings, IngestSettings
from lookalike_ingest.steps.compare import CompareStep
from lookalike_ingest.steps.encode import EncodeStep
from lookalike_ingest.steps.split import SplitContext
from lookalike_ingest.steps.write import ItemParts, WriteStep, WriteTarget
from lookalike_search.app import build as build_search
from tests.integration.ingest.conftest import FAST, FINAL, SERVER
from tests.integration.search.conftest import search_settings
from tests.support.milvus_lite import MilvusLite
from tests.support.search_client import (
    ATTRIBUTES,
    SearchClient,
    by_text,
    by_vector,
    dense,
    entity,
    failure,
    plain_field,
)
from tests.support.toy_encoder import DIMENSIONS, TEXT, ToyEncoder

Answer = TypeVar("Answer")


@pytest.fixture
def toy_encoder() -> ToyEncoder:
    return ToyEncoder()


@pytest.fixture
async def encoder_server(toy_encoder: ToyEncoder) -> AsyncIterator[GrpcServer]:
    async with running(toy_encoder.server()) as server:
        yield server


@pytest.fixture
async def search_server(
    milvus_lite: MilvusLite, encoder_server: GrpcServer
) -> AsyncIterator[GrpcServer]:
    settings = search_settings(milvus_lite.uri, encoder_server.port)
    async with running(build_search(settings)) as server:
        yield server


@pytest.fixture
async def search(search_server: GrpcServer) -> AsyncIterator[SearchClient]:
    async with open_channel(loopback(search_server.port)) as channel:
        yield SearchClient(channel)


@dataclass
class Jobs:
    """Runs jobs over texts."""

    stub: ingest_service_pb2_grpc.IngestServiceAsyncStub
    root: Path

    async def run(self, collection: str, **texts: str) -> job_pb2.Job:
        """Ingest texts by their keys; return how the job ended."""
        job = job_pb2.Job(collection=collection)
        for key, text in texts.items():
            job.items.items.add(item=key, content=content_pb2.Content(text=text))
        return await self.finish(job)

    async def run_table(self, collection: str, name: str, **columns: str) -> job_pb2.Job:
        """Ingest a table below the root; return how the job ended."""
        named = {key.replace("__", "."): column for key, column in columns.items()}
        table = job_pb2.TableSource(uri=(self.root / name).as_uri(), columns=named)
        return await self.finish(job_pb2.Job(collection=collection, table=table))

    async def failures(self, job: job_pb2.Job) -> Sequence[job_pb2.JobFailure]:
        """List a job's failures."""
        request = ingest_service_pb2.ListJobFailuresRequest(name=job.name)
        return (await self.stub.ListJobFailures(request)).failures

    async def finish(self, job: job_pb2.Job) -> job_pb2.Job:
        """Create a job; return how it ended."""
        created = await self.stub.CreateJob(ingest_service_pb2.CreateJobRequest(job=job))
        watching = ingest_service_pb2.WatchJobRequest(name=created.name)
        moves = [reply.job async for reply in self.stub.WatchJob(watching)]
        assert moves[-1].state in FINAL
        return moves[-1]


@pytest.fixture
async def jobs(
    encoder_server: GrpcServer, search_server: GrpcServer, tmp_path: Path, prepared_engine: Path
) -> AsyncIterator[Jobs]:
    shutil.copy(prepared_engine, tmp_path)
    (tmp_path / "tables").mkdir()
    settings = IngestSettings(
        server=SERVER,
        data_dir=tmp_path,
        roots=(tmp_path / "tables",),
        encoder=loopback(encoder_server.port),
        search=loopback(search_server.port),
        jobs=FAST,
        assets=AssetSettings(min_free_bytes=ByteSize(0)),
    )
    async with (
        running(build_ingest(settings)) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        yield Jobs(ingest_service_pb2_grpc.IngestServiceStub(channel), tmp_path / "tables")


# --- an encoder whose fingerprint changed ------------------------------------------------------


async def test_an_encoder_that_changed_is_refused_everywhere(
    search: SearchClient, jobs: Jobs, toy_encoder: ToyEncoder
) -> None:
    name = await search.create(collection_pb2.VectorField(encoder=TEXT))
    assert (await jobs.run(name, before="banana")).counts.created == 1
    bound, changed = toy_encoder.fingerprints[TEXT], "cc" * 32
    toy_encoder.fingerprints[TEXT] = changed

    refused = [
        await failure(search.search(name, by_text("banana"))),
        await failure(search.upsert(name, entity(name, "e", text_content="cherry"))),
    ]
    job = await jobs.run(name, after="quince")
    assert job.state == job_pb2.Job.STATE_FAILED
    refused.append(error_from_status(job.error))
    for error in refused:
        assert (type(error), error.code) == (EncoderMismatchError, Code.FAILED_PRECONDITION)
        assert bound in error.message
        assert changed in error.message
    assert await search.count(name) == 1

    toy_encoder.fingerprints[TEXT] = bound
    assert (await jobs.run(name, after="quince")).counts.created == 1


# --- tables -------------------------------------------------------------------------------------


async def test_given_vectors_are_written_without_an_encoder(
    search: SearchClient, jobs: Jobs, encoder_server: GrpcServer
) -> None:
    """Into a field that callers fill; one that does not fit fails alone, at its row."""
    await encoder_server.stop()
    name = await search.create(plain_field(), attributes=ATTRIBUTES)
    vectors = [[float(n), 1.0, 0.0] for n in range(200)]
    vectors[7] = [1.0, 2.0]
    table = pa.table({"id": [f"user {n}" for n in range(200)], "v": vectors, "price": range(200)})
    pq.write_table(table, jobs.root / "users.parquet", row_group_size=64)
    done = await jobs.run_table(name, "users.parquet", item="id", vectors__vector="v")
    assert (done.counts.created, done.counts.failed) == (199, 1)
    failure_ = (await jobs.failures(done))[0]
    assert (failure_.item, failure_.line) == ("user 7", 8)
    assert failure_.error.message == "the vector has 2 components; 'vector' takes 3"
    assert await search.count(name) == 199
    found = await search.search(name, by_vector(0, 1, 0), top_k=1, filter="price >= 150")
    assert found.hits[0].entity.item == "user 150"
    again = await jobs.run_table(name, "users.parquet", item="id", vectors__vector="v")
    assert (again.counts.unchanged, again.counts.failed) == (199, 1)


async def test_text_tables_get_the_declared_types(search: SearchClient, jobs: Jobs) -> None:
    name = await search.create(collection_pb2.VectorField(encoder=TEXT), attributes=ATTRIBUTES)
    rows = [
        "body,price,weight,sold,taken,tags,undeclared",
        'apple,3,2.5,TRUE,2026-01-02T03:04:05Z,"[""a"", ""b""]",7',
        "banana,cheap,,,,,",
        "cherry,,heavy,,,,",
        "quince,,,,,,",
    ]
    (jobs.root / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    done = await jobs.run_table(name, "t.csv", text="body")
    assert (done.counts.created, done.counts.failed) == (2, 2)
    stored = await search.get(f"{name}/entities/{entity_id('t.csv#1', 'whole', 0)}")
    assert MessageToDict(stored.attributes) == {
        "price": 3,
        "weight": 2.5,
        "sold": True,
        "taken": "2026-01-02T03:04:05.000000Z",
        "tags": ["a", "b"],
        "undeclared": "7",
    }
    fields = {each.line: each.error.message for each in await jobs.failures(done)}
    assert set(fields) == {3, 4}


# --- the end of a job --------------------------------------------------------------------------


async def test_what_a_job_wrote_is_visible_and_goes_with_its_asset(
    search: SearchClient, search_server: GrpcServer, jobs: Jobs
) -> None:
    name = await search.create(collection_pb2.VectorField(encoder=TEXT))
    key = 'a "key" \\ with all'
    job = await jobs.run(name, **{key: "banana", "other": "cherry"})
    async with open_channel(loopback(search_server.port)) as channel:
        client = SearchAdapter(channel)
        assert await client.is_visible(name, key, job.generation)
        assert not await client.is_visible(name, key, job.generation + 1)
        assert await client.is_visible(name, "none", job.generation), "nothing to wait for"
        asset = f"assets/{hashlib.sha256(b'banana').hexdigest()}"
        assert await client.delete_made_from(name, asset, job.generation - 1) == 0
        assert await client.delete_made_from(name, asset, job.generation) == 1
        assert name in [each async for each in client.list_collections()]
    assert await search.count(name) == 1


# --- another collection -------------------------------------------------------------------------


async def test_the_items_of_another_collection(search: SearchClient, jobs: Jobs) -> None:
    """Originals are read and encoded anew, else texts; a filter takes some; twice is once."""
    field = collection_pb2.VectorField(encoder=TEXT)
    older = await search.create(field, attributes=ATTRIBUTES)
    newer = await search.create(field, attributes=ATTRIBUTES)
    assert (await jobs.run(older, kept="banana", other="cherry")).counts.created == 2
    await search.upsert(
        older,
        entity(
            older,
            "a",
            item="direct",
            text="quince",
            text_content="quince",
            attributes={"color": "red"},
        ),
        entity(older, "b", *[1.0] * DIMENSIONS, item="nothing"),
    )
    source = job_pb2.CollectionSource(collection=older)
    done = await jobs.finish(job_pb2.Job(collection=newer, from_collection=source))
    assert (done.counts.created, done.counts.failed) == (3, 1)
    assert (await jobs.failures(done))[0].item == "nothing"
    stored = await search.entities.ListEntities(
        entity_service_pb2.ListEntitiesRequest(collection=newer)
    )
    found = {each.item: each for each in stored.entities}
    assert {key: each.text for key, each in found.items()} == {
        "kept": "banana",
        "other": "cherry",
        "direct": "quince",
    }
    assert MessageToDict(found["direct"].attributes) == {"color": "red"}
    assert found["kept"].asset
    again = await jobs.finish(job_pb2.Job(collection=newer, from_collection=source))
    assert (again.counts.unchanged, again.counts.failed) == (3, 1)
    some = job_pb2.CollectionSource(collection=older, filter='color = "red"')
    third = await search.create(field, attributes=ATTRIBUTES)
    narrow = await jobs.finish(job_pb2.Job(collection=third, from_collection=some))
    assert (narrow.counts.total, narrow.counts.created) == (1, 1)
    bad = job_pb2.CollectionSource(collection=older, filter="color = = 3")
    refused = await jobs.finish(job_pb2.Job(collection=third, from_collection=bad))
    assert error_from_status(refused.error).reason == "INVALID_FILTER"


async def test_vectors_of_another_collection_are_copied(search: SearchClient, jobs: Jobs) -> None:
    """Bit by bit, where both have a field of one name and space that callers fill."""
    older, newer = await search.create(plain_field()), await search.create(plain_field())
    await search.upsert(older, entity(older, "a", 0.1, 0.2, 0.3, item="user"))
    source = job_pb2.CollectionSource(collection=older)
    done = await jobs.finish(job_pb2.Job(collection=newer, from_collection=source))
    assert (done.counts.created, done.counts.failed) == (1, 0)
    name = f"{newer}/entities/{entity_id('user', 'whole', 0)}"
    copied = await search.get(name, output_fields=["vectors.vector"])
    first = await search.get(f"{older}/entities/a", output_fields=["vectors.vector"])
    assert copied.vectors["vector"] == first.vectors["vector"]


# --- a document that shrank --------------------------------------------------------------------


async def test_what_a_longer_document_left_goes_with_the_next_job(
    search: SearchClient, jobs: Jobs
) -> None:
    name = await search.create(collection_pb2.VectorField(encoder=TEXT))
    ids = [entity_id("doc", "whole", index) for index in range(4)]
    older = [
        entity(name, each, item="doc", text_content=text, generation=7)
        for each, text in zip(ids, ("one", "two", "three", "four"), strict=True)
    ]
    await search.upsert(name, *older, entity(name, "other", item="docs", text_content="five"))
    done = await jobs.run(name, doc="one alone")
    assert (done.counts.updated, done.entities.removed) == (1, 3)
    assert sorted(await search.listed(name)) == sorted([ids[0], "other"])
    assert (await search.get(f"{name}/entities/{ids[0]}")).generation == done.generation


async def nothing(*_said: str) -> None:
    """Tell nobody."""


PATIENCE = Patience(Backoff(), on_wait=nothing, on_resume=nothing)


class KilledError(Exception):
    """The process ends here."""


class Mortal:
    """An `EntityStore` that writes in Milvus and ends with a certain call, done or not."""

    def __init__(self, store: EntityStore, dies_at: int, *, done: bool) -> None:
        self._store = store
        self._left = dies_at
        self._done = done

    async def get_collection(self, name: str) -> Collection:
        return await self._store.get_collection(name)

    async def find_stored(self, collection: str, ids: Sequence[str]) -> Mapping[str, StoredEntity]:
        return await self._store.find_stored(collection, ids)

    async def upsert(
        self, collection: str, entities: Sequence[EntityWrite], fingerprints: Mapping[str, str]
    ) -> Sequence[Outcome | LookalikeError]:
        return await self._call(lambda: self._store.upsert(collection, entities, fingerprints))

    async def sweep(self, collection: str, sweeps: Sequence[Sweep]) -> int:
        return await self._call(lambda: self._store.sweep(collection, sweeps))

    async def list_page(
        self, collection: str, filter_text: str, token: str, vectors: Sequence[str]
    ) -> tuple[Sequence[ListedEntity], str]:
        return await self._store.list_page(collection, filter_text, token, vectors)

    async def optimize(self, collection: str) -> None:
        await self._store.optimize(collection)

    async def _call(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        self._left -= 1
        if self._left == 0 and not self._done:
            raise KilledError
        answer = await call()
        if self._left == 0:
            raise KilledError
        return answer


def parts(item: str, count: int, generation: int) -> list[EntityWrite]:
    """Return a document of so many parts, whose contents are those of its generation."""
    vector = dense(1, generation, 0).SerializeToString()
    return [
        EntityWrite(
            id=entity_id(item, "chunks", index),
            item=item,
            index=index,
            content_hash=f"{generation:064x}",
            generation=generation,
            vectors={"vector": vector},
        )
        for index in range(count)
    ]


async def write(
    store: EntityStore, collection: str, generation: int, count: int, *, replaces: bool = True
) -> None:
    """Write two documents of so many parts."""

    items = [
        ItemParts(number, parts(item, count, generation), replaces)
        for number, item in enumerate(("a", "b"))
    ]
    writing = WriteStep(store).begin(WriteTarget(collection, generation), PATIENCE)
    results = await writing.write(items)
    assert not any(isinstance(each, LookalikeError) for each in results.values())


STORED = ["generation", "item", "content_hash"]


@pytest.mark.parametrize(("generation", "count"), [(20, 3), (30, 2)], ids=["resumed", "followed"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "dies_at", [1, 2, 3, 4], ids=["revocation", "parts", "sweep", "first parts"]
)
async def test_a_document_that_shrank_leaves_nothing_when_its_writer_is_killed(
    search: SearchClient,
    search_server: GrpcServer,
    *,
    dies_at: int,
    done: bool,
    generation: int,
    count: int,
) -> None:
    name = await search.create()
    async with open_channel(loopback(search_server.port)) as channel:
        store = SearchAdapter(channel)
        await write(store, name, 10, count=5, replaces=False)
        with pytest.raises(KilledError):
            await write(Mortal(store, dies_at, done=done), name, 20, count=3)
        first = await store.find_stored(name, [entity_id("a", "chunks", 0)])
        (hash_now,) = {each.content_hash for each in first.values()}
        untouched, committed = f"{10:064x}", f"{20:064x}"
        assert (hash_now == untouched) == (not done and dies_at == 1), "else it would count as kept"
        assert (hash_now == committed) == (done and dies_at == 4), "it is the commit record"
        await write(store, name, generation, count)
    found = [
        await search.get(f"{name}/entities/{each}", output_fields=STORED)
        for each in await search.listed(name)
    ]
    assert Counter(each.item for each in found) == {"a": count, "b": count}
    assert {each.generation for each in found} == {generation}
    assert {each.content_hash for each in found} == {f"{generation:064x}"}


async def test_a_document_that_fails_in_its_middle_leaves_nothing(
    search: SearchClient, search_server: GrpcServer
) -> None:
    name = await search.create()
    async with open_channel(loopback(search_server.port)) as channel:
        store = SearchAdapter(channel)
        await write(store, name, 10, count=5, replaces=False)
        writing = WriteStep(store).begin(WriteTarget(name, 20), PATIENCE)
        replaced, fresh = parts("a", 3, 20), parts("c", 3, 20)
        begun = [
            ItemParts(0, replaced[:2], replaces=True, ended=False),
            ItemParts(1, fresh[:2], ended=False),
        ]
        assert await writing.write(begun) == {}
        found = await store.find_stored(name, [replaced[0].id, fresh[0].id, fresh[1].id])
        assert found[replaced[0].id].content_hash not in {f"{10:064x}", f"{20:064x}"}, "revoked"
        assert fresh[0].id not in found, "the commit record comes last"
        assert fresh[1].id in found

        broken = replace(fresh[2], vectors={"vector": dense(1, 2).SerializeToString()})
        results = await writing.write([ItemParts(1, [broken])])
        assert isinstance(results[1], LookalikeError)
        await writing.abandon([0])
    found_items = [
        (await search.get(f"{name}/entities/{each}", output_fields=STORED)).item
        for each in await search.listed(name)
    ]
    assert Counter(found_items) == {"b": 5}


class Unreadable(Preparation):
    """Items whose source broke between two tries."""

    def __init__(self) -> None:
        """Need nothing."""

    def run(
        self, _job: Job, _context: SplitContext, items: Sequence[Item], _stopwatch: Stopwatch
    ) -> Sequence[Prepared | ItemResult]:
        problem = ItemProblem("fetch", Problem.of(SourceChangedError("gone")))
        return [ItemResult(item.ordinal, Outcome.FAILED, problem=problem) for item in items]


async def test_what_an_earlier_try_wrote_of_an_item_that_then_fails_goes(
    search: SearchClient, search_server: GrpcServer, encoder_server: GrpcServer, tmp_path: Path
) -> None:
    name = await search.create(collection_pb2.VectorField(encoder=TEXT))
    written = {
        "orphan": [(1, 20), (2, 20)],  # killed before the commit record
        "revoked": [(0, 20), (1, 20), (2, 10)],  # killed while older parts were replaced
        "intact": [(0, 10), (1, 10)],  # stored by an older job
        "first-try": [(1, 20)],
    }
    for item, parts_of_item in written.items():
        for index, generation in parts_of_item:
            splitter = "chunks" if index else "whole"
            identifier = entity_id(item, splitter, index)
            text = f"{item} {index}"
            draft = entity(name, identifier, item=item, text_content=text, generation=generation)
            await search.upsert(name, draft)
    items = [
        Item(number, key, "", FilePlace("/gone"), 1, {}, 1 if key == "first-try" else 2)
        for number, key in enumerate(written)
    ]
    spec = JobSpec(name, FilesSource(["file:///gone/"]))
    job = Job("j", "", "", spec, generation=20, created_at=datetime.now(UTC))
    with ThreadPoolExecutor(1) as threads:
        async with (
            open_channel(loopback(search_server.port)) as to_search,
            open_channel(loopback(encoder_server.port)) as to_encoder,
        ):
            store, encoder = SearchAdapter(to_search), EncoderAdapter(to_encoder)
            pipeline = Pipeline(
                Unreadable(),
                CompareStep(store),
                EncodeStep(encoder, max_request_bytes=1 << 20),
                WriteStep(store),
                encoder=encoder,
                assets=FolderAssetStore(tmp_path, upload_expiry=timedelta(days=1)),
                entities=store,
                threads=threads,
                chunks=ChunkLimits(),
                split_at_once=1,
            )
            report = await pipeline.run(job, await store.get_collection(name), items, PATIENCE)
    assert [each.outcome for each in report.results] == [Outcome.FAILED] * 4
    left = [
        (await search.get(f"{name}/entities/{each}", output_fields=STORED)).item
        for each in await search.listed(name)
    ]
    assert Counter(left) == {"intact": 2, "first-try": 1}
    assert report.removed == 5
