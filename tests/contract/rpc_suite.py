"""The three services on a Milvus Lite and on real models, holding what the tables ask for."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message
from pydantic import ByteSize

from lookalike.asset.v1 import asset_service_pb2
from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2
from lookalike.ingest.v1 import ingest_service_pb2, job_pb2
from lookalike.search.v1 import collection_pb2, collection_service_pb2, entity_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import assert_eventually, free_port, loopback, running
from lookalike_encoder import app as encoder_app
from lookalike_encoder.settings import DeviceSettings, EncoderServerSettings, EncoderSettings
from lookalike_ingest import app as ingest_app
from lookalike_ingest.settings import AssetSettings, IngestServerSettings, IngestSettings
from lookalike_search import app as search_app
from lookalike_search.settings import (
    AssetsSettings,
    MilvusSettings,
    SearchServerSettings,
    SearchSettings,
)
from tests.contract.rpc_tables import (
    asset,
    collections,
    encoder,
    entities,
    ingest,
    lifecycle,
    migrations,
    search,
)
from tests.contract.rpc_tables.rows import Request, World
from tests.support.rpc_caller import RpcCaller
from tests.support.search_client import ATTRIBUTES, entity, plain_field
from tests.support.tiny_detector import install_tiny_detector, link_models

_AT_ONCE: Final[dict[str, Any]] = {
    "port": 0,
    "metrics_port": None,
    "drain_delay": timedelta(0),
    "drain_grace": timedelta(seconds=2),
}
SERVER_OF: Final = {
    "EncoderService": "encoder",
    "GRPCInferenceService": "encoder",
    "EncoderAdminService": "encoder",
    "CollectionService": "search",
    "EntityService": "search",
    "SearchService": "search",
    "IngestService": "ingest",
    "AssetService": "ingest",
}
"""Which server has a service. ServerInfoService is everywhere."""


@dataclass(frozen=True)
class RpcSuite:
    """Running services, and what they hold."""

    caller: RpcCaller
    world: World

    # Any: replies of every type.
    async def ask(self, rpc: str, request: Request) -> Any:
        """Return the reply of the one server that has an rpc."""
        return await self.caller.answer(server_of(rpc), rpc, request)

    async def watch(self, job: str) -> list[ingest_service_pb2.WatchJobResponse]:
        """Follow a job to its end."""
        return await watched(self.caller, job)


def server_of(rpc: str) -> str:
    """Return the server that is to be asked."""
    return SERVER_OF[rpc.partition(".")[0]]


async def watched(caller: RpcCaller, job: str) -> list[ingest_service_pb2.WatchJobResponse]:
    """Follow a job to its end; return what it reported."""
    request = ingest_service_pb2.WatchJobRequest(name=job)
    replies: list[ingest_service_pb2.WatchJobResponse] = await caller.answer(
        "ingest", "IngestService.WatchJob", request
    )
    return replies


@asynccontextmanager
async def running_suite(folder: Path, models: Path, milvus_uri: str) -> AsyncIterator[RpcSuite]:
    """Run the services, and prepare what the rows need."""
    root = folder / "root"
    _write_files(root, folder / "outside")
    models = link_models(models, folder / "models")
    install_tiny_detector(folder / "manifests", models)
    async with AsyncExitStack() as stack:
        encoder_server = await stack.enter_async_context(
            running(
                encoder_app.build(
                    EncoderSettings(
                        server=EncoderServerSettings(**_AT_ONCE),
                        models_dir=models,
                        manifest_dirs=(folder / "manifests",),
                        device=DeviceSettings(kind="cpu"),
                    )
                )
            )
        )
        await assert_eventually(encoder_server.health.is_serving, 60)
        ingest_port = free_port()
        search_server = await stack.enter_async_context(
            running(
                search_app.build(
                    SearchSettings(
                        server=SearchServerSettings(**_AT_ONCE),
                        milvus=MilvusSettings(uri=milvus_uri, facts_age=timedelta(milliseconds=50)),
                        encoder=loopback(encoder_server.port),
                        assets=AssetsSettings(address=f"127.0.0.1:{ingest_port}"),
                    )
                )
            )
        )
        ingest_server = await stack.enter_async_context(
            running(
                ingest_app.build(
                    IngestSettings(
                        server=IngestServerSettings(**{**_AT_ONCE, "port": ingest_port}),
                        data_dir=folder / "data",
                        roots=(root,),
                        encoder=loopback(encoder_server.port),
                        search=loopback(search_server.port),
                        assets=AssetSettings(min_free_bytes=ByteSize(0)),
                    )
                )
            )
        )
        servers = {"encoder": encoder_server, "search": search_server, "ingest": ingest_server}
        caller = RpcCaller(
            {
                name: await stack.enter_async_context(open_channel(loopback(server.port)))
                for name, server in servers.items()
            }
        )
        yield RpcSuite(caller, await _Preparation(caller, root).world())


def _write_files(root: Path, outside: Path) -> None:
    for path, data in ingest.FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    outside.mkdir()
    (outside / "out.jpg").write_bytes(encoder.photo(200))
    (root / "links").mkdir()
    (root / "links" / "out.jpg").symlink_to(outside / "out.jpg")
    (root / "linked").symlink_to(outside)


class _Preparation:
    """Fills the suite with what the rows need."""

    def __init__(self, caller: RpcCaller, root: Path) -> None:
        self._caller = caller
        self._root = root

    async def world(self) -> World:
        """Do it all."""
        await assert_eventually(self._ready, 60)
        await self._fill_collections()
        return await self._describe()

    async def _ask(self, rpc: str, request: Request) -> Any:
        return await self._caller.answer(server_of(rpc), rpc, request)

    async def _ready(self) -> bool:
        listed = await self._ask(
            "EncoderService.ListEncoders", encoder_service_pb2.ListEncodersRequest()
        )
        ready = encoder_pb2.Encoder.STATE_READY
        return all(each.state == ready for each in listed.encoders)

    async def _fill_collections(self) -> None:
        by_encoder = collection_pb2.VectorField
        for name, field in (
            (collections.PHOTOS, by_encoder(encoder=encoder.IMAGE)),
            (collections.TEXTS, by_encoder(encoder=encoder.TEXT)),
            (collections.PLAIN, plain_field()),
            (collections.WRITTEN, plain_field()),
            (collections.DOOMED, plain_field()),
            (collections.RELEASED, plain_field()),
        ):
            request = collections.create(
                name.removeprefix("collections/"), field, attributes=ATTRIBUTES
            )
            await self._ask("CollectionService.CreateCollection", request)
        await self._ask(
            "CollectionService.ReleaseCollection",
            collection_service_pb2.ReleaseCollectionRequest(name=collections.RELEASED),
        )
        for alias in (collections.KEPT_ALIAS, collections.MOVED_ALIAS, collections.DOOMED_ALIAS):
            await self._ask(
                "CollectionService.SetAlias", lifecycle.set_alias(alias, collections.PLAIN)
            )
        for name in (collections.PLAIN, collections.WRITTEN):
            await self._upsert(name, collections.plain_entities(name))
        await self._ask("CollectionService.CreateCollection", collections.CREATE_WORDS)
        await self._upsert(collections.WORDS, collections.words_entities())
        await self._start_migrations()
        words = [entity(collections.TEXTS, each, text_content=each) for each in ("cat", "car")]
        await self._upsert(collections.TEXTS, words)

    async def _start_migrations(self) -> None:
        by_encoder = collection_pb2.VectorField(encoder=encoder.TEXT)
        for name in (migrations.RESTING, *migrations.MIGRATING):
            await self._ask(
                "CollectionService.CreateCollection",
                collections.create(name.removeprefix("collections/"), by_encoder),
            )
        one = entity(migrations.LACKING, "one", text_content="a")
        await self._upsert(migrations.LACKING, [one])
        for name in migrations.MIGRATING:
            await self._ask("CollectionService.StartMigration", migrations.start(name))

    async def _upsert(self, collection: str, written: Sequence[Any]) -> None:
        reply: entity_service_pb2.UpsertEntitiesResponse = await self._ask(
            "EntityService.UpsertEntities", collections.upsert(collection, *written)
        )
        assert all(each.HasField("entity") for each in reply.results), reply

    async def _describe(self) -> World:
        for data in (asset.KEPT, asset.DOOMED, asset.PLAIN_BYTES):
            await self._upload(data, data)
        upload = await self._upload(asset.BEGUN, asset.BEGUN[:4])
        lying = await self._ask(
            "AssetService.StartUpload",
            asset_service_pb2.StartUploadRequest(
                size_bytes=len(asset.LIE), sha256=hashlib.sha256(b"the truth").hexdigest()
            ),
        )
        world = World(self._root, "", 0, "", "", "", upload, lying.name, "", {})
        job, end = await self._run(ingest.prepared(world))
        other, _ = await self._run(
            ingest.given(items=ingest.items("other", content_pb2.Content(image=b"no picture")))
        )
        return World(
            root=self._root,
            job=job,
            job_end=end,
            other_job=other,
            paused_job=await self._pause("paused"),
            resumable_job=await self._pause("resumable"),
            upload=upload,
            lying_upload=lying.name,
            fingerprint=await self._fingerprint(),
            tokens=await self._tokens(job),
        )

    async def _upload(self, data: bytes, sent: bytes) -> str:
        started = await self._ask("AssetService.StartUpload", asset.start(data))
        chunk = asset_service_pb2.UploadChunkRequest(upload=started.name, data=sent)
        await self._ask("AssetService.UploadChunk", [chunk])
        return str(started.name)

    async def _run(self, request: ingest_service_pb2.CreateJobRequest) -> tuple[str, int]:
        job: job_pb2.Job = await self._ask("IngestService.CreateJob", request)
        return job.name, (await watched(self._caller, job.name))[-1].offset

    async def _pause(self, name: str) -> str:
        """Pause a job before the engine's next look at its queues."""
        request = ingest.given(items=ingest.items(name, content_pb2.Content(image=b"no picture")))
        job = await self._ask("IngestService.CreateJob", request)
        pause = ingest_service_pb2.PauseJobRequest(name=job.name)
        return str((await self._ask("IngestService.PauseJob", pause)).name)

    async def _fingerprint(self) -> str:
        request = encoder_service_pb2.GetEncoderRequest(name=encoder.IMAGE)
        return str((await self._ask("EncoderService.GetEncoder", request)).fingerprint)

    async def _tokens(self, job: str) -> dict[str, str]:
        pages: dict[str, Message] = {
            "SearchService.Search": search.FIRST_PAGE,
            "EntityService.ListEntities": entities.FIRST_PAGE,
            "IngestService.ListJobs": ingest.FIRST_JOBS,
            "IngestService.ListJobFailures": ingest.first_page(job),
        }
        tokens = {
            rpc.partition(".")[2]: (await self._ask(rpc, request)).next_page_token
            for rpc, request in pages.items()
        }
        assert all(tokens.values()), tokens
        return tokens
