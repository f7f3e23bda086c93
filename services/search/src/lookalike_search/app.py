"""Puts the service together; the only place that constructs its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import CollectorRegistry

from lookalike.search.v1 import (
    collection_service_pb2_grpc,
    entity_pb2,
    entity_service_pb2_grpc,
    search_service_pb2_grpc,
)
from lookalike_common.channels import open_channel
from lookalike_common.server import GrpcServer, Service
from lookalike_common.validation import RequestValidator
from lookalike_search.adapters.asset_client import AssetClient
from lookalike_search.adapters.encoder_client import EncoderClient
from lookalike_search.adapters.milvus import MilvusStore, TlsFiles
from lookalike_search.assets import ResolvingEncoder
from lookalike_search.catalog import Catalog
from lookalike_search.commands.aliases import Aliases
from lookalike_search.commands.batches import BatchSearching
from lookalike_search.commands.classifying import Classifying
from lookalike_search.commands.collection_changes import CollectionChanges
from lookalike_search.commands.collections import Collections
from lookalike_search.commands.entities import Entities
from lookalike_search.commands.examples import Examples
from lookalike_search.commands.migrations import Migrations
from lookalike_search.commands.recommending import Recommending
from lookalike_search.commands.searching import Searching
from lookalike_search.commands.streams import UpsertStreams
from lookalike_search.commands.structures import Structures
from lookalike_search.commands.updates import Updates
from lookalike_search.commands.upserts import Upserts
from lookalike_search.commands.windows import Windows
from lookalike_search.conformance import Feature, Report, examine
from lookalike_search.encoding import EncoderPort
from lookalike_search.limits import published
from lookalike_search.query_cache import QueryCache, QueryCacheMetrics, RememberingEncoder
from lookalike_search.rpc import collection, entity, search
from lookalike_search.settings import AssetsSettings, MilvusSettings, SearchSettings


@asynccontextmanager
async def build(
    settings: SearchSettings, *, encoder: EncoderPort | None = None
) -> AsyncIterator[GrpcServer]:
    """Yield the server, not yet started, connected to Milvus if that is there.

    Health says SERVING while it is. `encoder` replaces the encoder service.
    """
    async with AsyncExitStack() as stack:
        if encoder is None:
            channel = await stack.enter_async_context(open_channel(settings.encoder))
            encoder = EncoderClient(channel)
        store = _make_store(settings.milvus)
        encoder = ResolvingEncoder(encoder, await _open_assets(settings.assets, stack))
        metrics = CollectorRegistry()
        if settings.query_cache.max_bytes:
            cache = QueryCache(settings.query_cache.max_bytes, QueryCacheMetrics(metrics))
            encoder = RememberingEncoder(encoder, cache)
        catalog = Catalog(store, max_age=settings.milvus.facts_age)
        services = _make_services(store, encoder, catalog, settings)
        server = _make_server(settings, services, store, metrics)
        store.listen(lambda available: _set_serving(server, serving=available))
        _set_serving(server, serving=False)
        await stack.enter_async_context(store)
        await store.wait_until_available(settings.milvus.start_limit)
        yield server


async def _open_assets(settings: AssetsSettings, stack: AsyncExitStack) -> AssetClient | None:
    if not settings.address:
        return None
    channel = await stack.enter_async_context(open_channel(settings))
    return AssetClient(channel, limit=settings.deadline, max_bytes=settings.max_bytes)


async def examine_backend(
    settings: MilvusSettings, features: Sequence[Feature]
) -> tuple[str, list[Report]] | None:
    """Return the name of the Milvus in use and how it does; None if it cannot be reached."""
    async with _make_store(settings) as store:
        if not await store.wait_until_available(settings.start_limit):
            return None
        reports = await examine(store, features)
        return f"{store.backend} ({store.capabilities.version})", reports


def _make_store(settings: MilvusSettings) -> MilvusStore:
    return MilvusStore(
        settings.uri,
        token=settings.token.get_secret_value(),
        tls=TlsFiles(
            authority=settings.ca_file, certificate=settings.cert_file, key=settings.key_file
        ),
        database=settings.database,
        call_limit=settings.call_limit,
        sweep_interval=settings.sweep_interval,
    )


def _make_services(
    store: MilvusStore, encoder: EncoderPort, catalog: Catalog, settings: SearchSettings
) -> list[Service]:
    streams = settings.streams
    upserts = Upserts(store, encoder, catalog)
    commands = Collections(store, encoder, catalog)
    collections = collection.CollectionServicer(
        commands,
        CollectionChanges(store, catalog),
        Aliases(store, catalog),
        Migrations(store, commands, catalog),
        lambda: store.backend,
    )
    entities = entity.EntityServicer(
        Entities(store, catalog),
        upserts,
        Updates(store, encoder, catalog),
        UpsertStreams(
            upserts,
            depth=streams.depth,
            slow_after=streams.slow_after,
            longest_backoff=streams.longest_backoff,
        ),
        _make_validator(),
    )
    searches = _make_searches(store, encoder, catalog, settings)
    return [
        Service(
            collection.SERVICE,
            collection_service_pb2_grpc.add_CollectionServiceServicer_to_server,
            collections,
        ),
        Service(
            entity.SERVICE, entity_service_pb2_grpc.add_EntityServiceServicer_to_server, entities
        ),
        Service(
            search.SERVICE, search_service_pb2_grpc.add_SearchServiceServicer_to_server, searches
        ),
    ]


def _make_searches(
    store: MilvusStore, encoder: EncoderPort, catalog: Catalog, settings: SearchSettings
) -> search.SearchServicer:
    examples = Examples(store, encoder, catalog)
    structures = Structures(store, encoder, max_scanned=settings.structures.max_scanned)
    searching = Searching(store, encoder, examples, Windows(store, structures), catalog)
    return search.SearchServicer(
        searching,
        BatchSearching(searching, examples, catalog),
        Recommending(searching, examples, catalog),
        Classifying(searching, examples, catalog),
    )


def _make_validator() -> RequestValidator:
    """Return what checks entities one by one, so that a bad one does not fail the others."""
    validator = RequestValidator()
    validator.warm_up([entity_pb2.Entity])
    return validator


def _make_server(
    settings: SearchSettings,
    services: Sequence[Service],
    store: MilvusStore,
    metrics: CollectorRegistry,
) -> GrpcServer:
    return GrpcServer(
        settings.server,
        server_name="search",
        services=services,
        features=lambda: [store.backend] if store.backend else [],
        limits=published(settings),
        backend=lambda: store.backend,
        registry=metrics,
    )


def _set_serving(server: GrpcServer, *, serving: bool) -> None:
    for name in (collection.SERVICE, entity.SERVICE, search.SERVICE):
        server.health.set_serving(name, serving)
