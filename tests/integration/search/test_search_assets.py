"""Contents that are stored assets, in queries and in writes, read from a real AssetService."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
import yaml
from pydantic import ByteSize

from lookalike.asset.v1 import asset_service_pb2_grpc
from lookalike.search.v1 import collection_pb2, entity_pb2
from lookalike.search.v1 import search_service_pb2 as pb
from lookalike.type.v1 import content_pb2, outcome_pb2
from lookalike_common.channels import open_channel
from lookalike_common.context import RequestContext, use_context
from lookalike_common.errors import (
    BackendUnavailableError,
    InvalidContentError,
    LimitExceededError,
    NotFoundError,
    UnimplementedError,
    UnsupportedMediaError,
)
from lookalike_common.server import GrpcServer, Service
from lookalike_common.settings import AuthSettings, TargetSettings
from lookalike_common.testing import loopback, running, server_settings
from lookalike_ingest.adapters.folder_asset_store import FolderAssetStore
from lookalike_ingest.assets import Assets
from lookalike_ingest.cascade import Cascade
from lookalike_ingest.rpc.assets import SERVICE, AssetServicer
from lookalike_search.adapters.asset_client import AssetClient
from lookalike_search.app import build
from lookalike_search.encoding import ContentKind
from lookalike_search.settings import AssetsSettings
from tests.integration.search.conftest import search_settings
from tests.support.milvus_lite import MilvusLite
from tests.support.search_client import (
    SearchClient,
    entity,
    failure,
    ids,
    outcomes,
    upsert_error,
)
from tests.support.toy_encoder import IMAGE, TEXT, ToyEncoder

PNG = b"\x89PNG\r\n\x1a\n"
MAX_BYTES = 10_000


def named(data: bytes) -> str:
    return f"assets/{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[FolderAssetStore]:
    store = FolderAssetStore(tmp_path / "assets", upload_expiry=timedelta(hours=1))
    await store.open_folder()
    yield store
    await store.close()


async def keep(store: FolderAssetStore, data: bytes, tenant: str = "") -> str:
    await store.put(tenant, hashlib.sha256(data).hexdigest(), data)
    return named(data)


@asynccontextmanager
async def serving(
    store: FolderAssetStore, auth: AuthSettings | None = None
) -> AsyncIterator[GrpcServer]:
    add = asset_service_pb2_grpc.add_AssetServiceServicer_to_server
    nowhere = cast("Cascade", None)  # nothing is deleted here
    servicer = AssetServicer(Assets(store, nowhere, max_bytes=1 << 30))
    settings = server_settings()
    if auth is not None:
        settings = settings.model_copy(update={"auth": auth})
    services = [Service(SERVICE, add, servicer)]
    async with running(GrpcServer(settings, server_name="ingest", services=services)) as server:
        yield server


@pytest.fixture
async def asset_server(kept: FolderAssetStore) -> AsyncIterator[GrpcServer]:
    async with serving(kept) as server:
        yield server


@pytest.fixture
async def search_server(
    milvus_lite: MilvusLite, encoder_server: GrpcServer, asset_server: GrpcServer
) -> AsyncIterator[GrpcServer]:
    settings = search_settings(milvus_lite.uri, encoder_server.port)
    assets = AssetsSettings(address=f"127.0.0.1:{asset_server.port}", max_bytes=ByteSize(MAX_BYTES))
    async with running(build(settings.model_copy(update={"assets": assets}))) as server:
        yield server


def by_asset(name: str, media_type: str = "") -> pb.Query:
    return pb.Query(content=content_pb2.Content(asset=name, media_type=media_type))


def written(collection: str, name: str, asset: str) -> entity_pb2.Entity:
    message = entity(collection, name)
    message.content.asset = asset
    return message


async def pictures(client: SearchClient) -> str:
    name = await client.create(collection_pb2.VectorField(encoder=IMAGE))
    contents = {word: content_pb2.Content(image=PNG + word.encode()) for word in ("abba", "zuzu")}
    await client.upsert(
        name, *(entity(name, word, content=content) for word, content in contents.items())
    )
    return name


async def test_a_query_by_a_stored_picture(
    client: SearchClient, kept: FolderAssetStore, toy_encoder: ToyEncoder
) -> None:
    name = await pictures(client)
    reply = await client.search(name, by_asset(await keep(kept, PNG + b"zuzu")), top_k=1)
    assert ids(reply.hits) == ["zuzu"]
    assert reply.hits[0].score == pytest.approx(1)
    asked = toy_encoder.requests[-1].items[0].content
    assert (asked.image, asked.media_type) == (PNG + b"zuzu", "image/png")


async def test_an_entity_is_written_from_an_asset_and_unchanged_the_second_time(
    client: SearchClient, kept: FolderAssetStore, toy_encoder: ToyEncoder
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=IMAGE))
    first, second = [await keep(kept, PNG + word) for word in (b"abba", b"zuzu")]
    reply = await client.upsert(name, written(name, "e", first), written(name, "f", second))
    assert outcomes(reply) == [outcome_pb2.OUTCOME_CREATED] * 2
    assert len(toy_encoder.requests) == 1
    assert (await client.get(f"{name}/entities/e")).asset == first
    reply = await client.upsert(name, written(name, "e", first))
    assert outcomes(reply) == [outcome_pb2.OUTCOME_UNCHANGED]
    reply = await client.upsert(name, written(name, "e", second))
    assert outcomes(reply) == [outcome_pb2.OUTCOME_UPDATED]
    assert len(toy_encoder.requests) == 2


async def test_bad_assets_fail_alone(client: SearchClient, kept: FolderAssetStore) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=IMAGE))
    data = [PNG + b"abba", PNG + b"x" * MAX_BYTES, b"no picture", b"%PDF-1", PNG + b"z" * 9_900]
    names = [await keep(kept, each) for each in data]
    reply = await client.upsert(
        name,
        *(written(name, f"e{i}", asset) for i, asset in enumerate([*names, named(b"nothing")])),
    )
    assert [each.WhichOneof("result") for each in reply.results] == [
        *("entity", "error", "error", "error", "entity", "error")
    ]
    errors = [upsert_error(reply.results[i]) for i in (1, 2, 3, 5)]
    assert [(type(each), each.field) for each in errors] == [
        (LimitExceededError, "entities[1].content.asset"),
        (UnsupportedMediaError, "entities[2].content.asset"),
        (UnsupportedMediaError, "entities[3].content.asset"),
        (NotFoundError, "entities[5].content"),
    ]


async def test_an_asset_is_a_text_only_where_the_caller_says_so(
    client: SearchClient, kept: FolderAssetStore
) -> None:
    name = await client.create(collection_pb2.VectorField(encoder=TEXT))
    await client.upsert(name, entity(name, "abba", text_content="abba"))
    asset = await keep(kept, b"bab")
    assert ids((await client.search(name, by_asset(asset, "text/plain"))).hits) == ["abba"]
    refused = await failure(client.search(name, by_asset(asset)))
    assert (type(refused), refused.field) == (
        UnsupportedMediaError,
        "queries[0].content.asset",
    )
    latin = await keep(kept, "bäb".encode("latin-1"))
    refused = await failure(client.search(name, by_asset(latin, "text/plain")))
    assert (type(refused), refused.field) == (InvalidContentError, "queries[0].content.asset")


async def test_without_the_asset_service_other_searches_go_on(
    client: SearchClient, kept: FolderAssetStore, asset_server: GrpcServer
) -> None:
    name = await pictures(client)
    asset = await keep(kept, PNG + b"zuzu")
    await asset_server.stop()
    assert type(await failure(client.search(name, by_asset(asset)))) is BackendUnavailableError
    content = content_pb2.Content(image=PNG + b"abba")
    assert ids((await client.search(name, pb.Query(content=content), top_k=1)).hits) == ["abba"]


async def test_where_none_is_configured_it_says_so(
    milvus_lite: MilvusLite, encoder_server: GrpcServer
) -> None:
    settings = search_settings(milvus_lite.uri, encoder_server.port)
    async with (
        running(build(settings)) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        client = SearchClient(channel)
        name = await pictures(client)
        refused = await failure(client.search(name, by_asset(named(b"any"))))
        assert (type(refused), refused.field) == (UnimplementedError, "queries[0].content.asset")
        reply = await client.upsert(name, written(name, "e", named(b"any")))
        error = upsert_error(reply.results[0])
        assert (type(error), error.field) == (UnimplementedError, "entities[0].content.asset")


async def test_assets_are_the_tenants_own(kept: FolderAssetStore, tmp_path: Path) -> None:
    entries = [{"token": "token-of-the-service", "scopes": ["service", "write"]}]
    (tmp_path / "tokens.yaml").write_text(yaml.safe_dump(entries))
    (tmp_path / "token").write_text("token-of-the-service")
    asset = await keep(kept, PNG + b"abba", "ants")
    async with serving(kept, AuthSettings(tokens_file=tmp_path / "tokens.yaml")) as server:
        target = TargetSettings(address=f"127.0.0.1:{server.port}", token_file=tmp_path / "token")
        async with open_channel(target) as channel:
            client = AssetClient(channel, limit=timedelta(seconds=10), max_bytes=MAX_BYTES)
            with use_context(RequestContext(tenant="ants")):
                assert await client.read(asset) == (ContentKind.IMAGE, PNG + b"abba", "image/png")
            with use_context(RequestContext(tenant="bees")), pytest.raises(NotFoundError):
                await client.read(asset)
