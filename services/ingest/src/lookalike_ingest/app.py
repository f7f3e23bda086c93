"""Puts the service together; the only place that constructs its parts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

from prometheus_client import CollectorRegistry

from lookalike.asset.v1 import asset_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2_grpc
from lookalike_common.channels import open_channel
from lookalike_common.health import OVERALL
from lookalike_common.server import GrpcServer, Service
from lookalike_ingest.adapters.arrow_parquet import ArrowParquet
from lookalike_ingest.adapters.dbos_engine import DbosEngine
from lookalike_ingest.adapters.decode_pool import DecodePool, ProcessLimits
from lookalike_ingest.adapters.encoder_client import EncoderClient
from lookalike_ingest.adapters.folder_asset_store import FolderAssetStore
from lookalike_ingest.adapters.folder_spool import FolderSpool
from lookalike_ingest.adapters.markdown_plain import MarkdownPlain
from lookalike_ingest.adapters.object_asset_store import ObjectAssetStore
from lookalike_ingest.adapters.object_stores import ObjectStores, StoreAccess
from lookalike_ingest.adapters.postgres_presence import PostgresPresence
from lookalike_ingest.adapters.search_client import SearchClient
from lookalike_ingest.adapters.semantic_cutter import SemanticCutter
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_deletions import SqlDeletionStore
from lookalike_ingest.adapters.sql_job_store import SqlJobStore
from lookalike_ingest.adapters.sql_loads import SqlLoadStore
from lookalike_ingest.adapters.sql_spool import SqlSpool
from lookalike_ingest.adapters.sql_tables import METADATA
from lookalike_ingest.adapters.sqlite_key_set import open_key_set
from lookalike_ingest.adapters.vector_packing import pack_vector
from lookalike_ingest.adapters.web_files import WebAccess, WebFiles, WebLimits
from lookalike_ingest.adapters.zstd import unzstd
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.assets import Assets
from lookalike_ingest.batching import BatchLimits
from lookalike_ingest.capacity import Capacity
from lookalike_ingest.cascade import Cascade
from lookalike_ingest.concurrency import keep_running
from lookalike_ingest.decoding import DecodeLimits, Decoder
from lookalike_ingest.encoding import Encoder
from lookalike_ingest.engine import JobEngine, Work
from lookalike_ingest.entities import EntityStore
from lookalike_ingest.expansion import EXPAND, Expansion
from lookalike_ingest.finish import Finish
from lookalike_ingest.housekeeping import Housekeeping
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_scope import JobScope
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.jobs import Jobs, JobsLimits
from lookalike_ingest.media_types import Modality
from lookalike_ingest.metrics import JobMetrics
from lookalike_ingest.parts import ChunkLimits
from lookalike_ingest.patience import Backoff
from lookalike_ingest.pipeline import Pipeline
from lookalike_ingest.preparation import Preparation
from lookalike_ingest.progress import ProgressMeter
from lookalike_ingest.progress_board import ProgressBoard
from lookalike_ingest.rpc.assets import SERVICE as ASSET_SERVICE
from lookalike_ingest.rpc.assets import AssetServicer
from lookalike_ingest.rpc.ingest import SERVICE as INGEST_SERVICE
from lookalike_ingest.rpc.ingest import IngestServicer
from lookalike_ingest.settings import IngestSettings, Role
from lookalike_ingest.shard import SHARD, ShardWorker
from lookalike_ingest.signals import Signals
from lookalike_ingest.sources.canonical_names import CanonicalNames
from lookalike_ingest.sources.collection_items import CollectionLister
from lookalike_ingest.sources.containers import ContainerLimits, Containers
from lookalike_ingest.sources.files import FilesLister
from lookalike_ingest.sources.lines import RecordLimits
from lookalike_ingest.sources.listing import Lister
from lookalike_ingest.sources.local_cache import LocalCache
from lookalike_ingest.sources.record_files import RecordFiles
from lookalike_ingest.sources.remote import Remotes
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.sources.table_items import TableLister
from lookalike_ingest.sources.tables import Tables
from lookalike_ingest.sources.unfolding import Unfolding
from lookalike_ingest.sources.zip_directory import ArchiveLimits
from lookalike_ingest.splitters.audio import AudioSplitters
from lookalike_ingest.splitters.image import ImageSplitters
from lookalike_ingest.splitters.molecule import MoleculeSplitters
from lookalike_ingest.splitters.row import RowSplitters
from lookalike_ingest.splitters.sequence import SequenceSplitters
from lookalike_ingest.splitters.text import TextSplitters
from lookalike_ingest.splitters.video import VideoSplitters
from lookalike_ingest.spool import Spool
from lookalike_ingest.steps.compare import CompareStep
from lookalike_ingest.steps.decode import DecodeStep, SizeLimits
from lookalike_ingest.steps.encode import EncodeStep
from lookalike_ingest.steps.fetch import FetchStep
from lookalike_ingest.steps.read_row import ReadRowStep
from lookalike_ingest.steps.split import MakeSplitter
from lookalike_ingest.steps.unpack import UnpackStep
from lookalike_ingest.steps.write import WriteStep
from lookalike_ingest.takeover import Takeover
from lookalike_ingest.upkeep import Upkeep
from lookalike_media import ImageLimits

_EXPANSIONS_AT_ONCE = 2
_UPKEEP_INTERVAL = timedelta(seconds=1)
_HEALTH_INTERVAL = timedelta(seconds=1)
FEATURES = (
    "assets",
    "audio",
    "collections",
    "detection",
    "files",
    "gzip",
    "items",
    "object-stores",
    "pace",
    "pause",
    "pdf",
    "records",
    "retry",
    "sync",
    "tables",
    "tar",
    "text",
    "tiles",
    "video",
    "watch",
    "web",
    "zip",
    "zstd",
)
"""What GetServerInfo names."""


@asynccontextmanager
async def build(settings: IngestSettings) -> AsyncIterator[GrpcServer]:
    """Yield the server, not yet started; jobs that were left unfinished go on already."""
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(settings.jobs.read_threads, "read"))
        feed, meter, registry = JobFeed(), ProgressMeter(), CollectorRegistry()
        metrics = JobMetrics(registry)
        database = await _open_database(settings, stack)
        store, loads = SqlJobStore(database, feed), SqlLoadStore(database)
        assets, cache = await _open_assets(settings, stack)
        spool = _spool(settings, database)
        roots = Roots(settings.roots)
        encoder = EncoderClient(await stack.enter_async_context(open_channel(settings.encoder)))
        entities = SearchClient(await stack.enter_async_context(open_channel(settings.search)))
        executor = _executor(settings)
        engine = _engine(settings, executor)
        decoder = _open_decoder(settings, stack)
        scope = JobScope(store, feed, spool, meter, _backoff(settings))
        board = ProgressBoard(loads, meter, executor)
        remotes = _remotes(settings)
        containers = _containers(settings, roots, remotes, assets, cache)
        names = CanonicalNames(containers, spool, decoder)
        lister, read_row = _open_sources(settings, roots, remotes, containers, stack, names=names)
        pipeline = _pipeline(
            settings,
            containers=containers,
            read_row=read_row,
            decoder=decoder,
            assets=assets,
            spool=spool,
            encoder=encoder,
            entities=entities,
            threads=threads,
        )
        kinds = _kinds(
            settings,
            scope=scope,
            store=store,
            lister=lister,
            pipeline=pipeline,
            entities=entities,
            engine=engine,
            threads=threads,
            meter=meter,
            board=board,
            metrics=metrics,
        )
        jobs = Jobs(
            store,
            feed,
            engine,
            scope,
            spool=spool,
            roots=roots,
            remotes=remotes,
            assets=assets,
            entities=entities,
            encoder=encoder,
            limits=_jobs_limits(settings),
        )
        cascade = Cascade(SqlDeletionStore(database), entities)
        server = _server(settings, jobs, board, assets, registry, cascade=cascade)
        housekeeping = Housekeeping(
            store,
            engine,
            assets,
            spool,
            retention=settings.jobs.retention,
            resubmit=jobs.resubmit,
            cascade=cascade,
        )
        await _start(settings, stack, engine, executor, kinds)
        stack.push_async_callback(jobs.close)
        await jobs.resume_all()
        if settings.role is not Role.API:
            _run_beside(stack, housekeeping.run)
            upkeep = Upkeep(store, engine, settings.jobs.shard_items, _UPKEEP_INTERVAL)
            _run_beside(stack, upkeep.run)
        _run_beside(stack, Signals(loads, meter, metrics, settings.jobs.shard_items).run)
        _run_beside(stack, partial(_watch_database, database, server, settings.role))
        yield server


def _open_decoder(settings: IngestSettings, stack: AsyncExitStack) -> DecodePool:
    decoder = DecodePool(_process_limits(settings), _decode_limits(settings))
    stack.callback(decoder.close)
    return decoder


def _kinds(
    settings: IngestSettings,
    *,
    scope: JobScope,
    store: JobStore,
    lister: Lister,
    pipeline: Pipeline,
    entities: SearchClient,
    engine: JobEngine,
    threads: ThreadPoolExecutor,
    meter: ProgressMeter,
    board: ProgressBoard,
    metrics: JobMetrics,
) -> Mapping[str, Work]:
    """Return who does the tasks of which kind."""
    limits = settings.jobs
    finish = Finish(
        scope,
        store,
        entities,
        entities,
        visible_timeout=limits.visible_timeout,
        optimize_after=limits.optimize_after,
    )
    expansion = Expansion(
        scope,
        store,
        lister=lister,
        entities=entities,
        collections=CollectionLister(entities),
        finish=finish,
        capacity=Capacity(limits.lite_warn_entities, limits.lite_max_entities),
        engine=engine,
        threads=threads,
        batch_items=settings.jobs.batch_items,
        shard_items=settings.jobs.shard_items,
    )
    worker = ShardWorker(
        scope,
        store,
        pipeline,
        entities,
        meter,
        finish=finish,
        board=board,
        metrics=metrics,
        limits=_batch_limits(settings),
        max_attempts=settings.jobs.max_attempts,
    )
    return {
        EXPAND: Work(expansion.handle, _EXPANSIONS_AT_ONCE),
        SHARD: Work(worker.handle, settings.jobs.shards_at_once),
    }


async def _start(
    settings: IngestSettings,
    stack: AsyncExitStack,
    engine: DbosEngine,
    executor: str,
    kinds: Mapping[str, Work],
) -> None:
    """Begin to work, in the sight of other workers if there may be any."""
    if settings.database_url is None or settings.role is Role.API:
        stack.push_async_callback(engine.stop)
        await engine.start({} if settings.role is Role.API else kinds)
        return
    presence = PostgresPresence(settings.database_url.get_secret_value(), executor)
    stack.push_async_callback(presence.release)  # when the engine has stopped
    await presence.hold()
    stack.push_async_callback(engine.stop)
    await engine.start(kinds)
    takeover = Takeover(engine, presence, delay=settings.jobs.takeover_delay)
    _run_beside(stack, takeover.run)


async def _open_database(settings: IngestSettings, stack: AsyncExitStack) -> SqlDatabase:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = SqlDatabase(_database_url(settings, "jobs.sqlite"), METADATA)
    stack.push_async_callback(database.close)
    await database.open()
    return database


def _database_url(settings: IngestSettings, file: str) -> str:
    """Return the one database's URL, or that of a file for this purpose."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data_dir / file}"


def _executor(settings: IngestSettings) -> str:
    """Return who begins tasks: this start of this replica, never taken for an earlier one.

    On SQLite there is nobody else, and DBOS itself brings back what it left.
    """
    if settings.database_url is None:
        return "local"
    return f"{settings.jobs.executor}:{uuid4().hex[:12]}"


def _engine(settings: IngestSettings, executor: str) -> DbosEngine:
    return DbosEngine(
        _database_url(settings, "engine.sqlite"),
        polling_interval=settings.jobs.polling_interval,
        executor_id=executor,
    )


def _spool(settings: IngestSettings, database: SqlDatabase) -> Spool:
    if settings.database_url is not None:
        return SqlSpool(database)
    return FolderSpool(settings.data_dir / "spool")


async def _open_assets(
    settings: IngestSettings, stack: AsyncExitStack
) -> tuple[AssetStore, LocalCache]:
    """Return where originals are kept, and where what is brought here is held for a while."""
    cache = LocalCache(settings.data_dir / "cache", int(settings.archives.cache_bytes))
    stack.callback(cache.close)
    kept = settings.assets
    if kept.store is not None:
        access = StoreAccess(kept.store.prefix, kept.store.config())
        store = ObjectAssetStore(access, cache=cache, upload_expiry=kept.upload_expiry)
        stack.push_async_callback(store.close)
        return store, cache
    assets = FolderAssetStore(
        settings.data_dir / "assets",
        upload_expiry=settings.assets.upload_expiry,
        min_free_bytes=settings.assets.min_free_bytes,
    )
    stack.push_async_callback(assets.close)
    await assets.open_folder()
    return assets, cache


def _remotes(settings: IngestSettings) -> Remotes:
    stores = [StoreAccess(each.prefix, each.config()) for each in settings.stores]
    web = settings.web
    prefixes = [WebAccess(each.prefix, each.private_networks) for each in web.prefixes]
    limits = WebLimits(
        web.connect_timeout,
        web.read_timeout,
        web.total_timeout,
        int(settings.archives.cache_bytes),
    )
    return Remotes({"object": ObjectStores(stores), "web": WebFiles(prefixes, limits)})


def _containers(
    settings: IngestSettings,
    roots: Roots,
    remotes: Remotes,
    assets: AssetStore,
    cache: LocalCache,
) -> Containers:
    limits = ContainerLimits(_archive_limits(settings))
    return Containers(roots, assets.open, unzstd, cache=cache, remotes=remotes, limits=limits)


def _open_sources(
    settings: IngestSettings,
    roots: Roots,
    remotes: Remotes,
    containers: Containers,
    stack: AsyncExitStack,
    *,
    names: CanonicalNames,
) -> tuple[Lister, ReadRowStep]:
    """Return what lists all sources, and what reads the rows of tables."""
    stack.callback(containers.close)
    limits = settings.tables
    record_limits = RecordLimits(
        int(limits.max_record_bytes), limits.max_columns, limits.max_records
    )
    records = RecordFiles(record_limits, open_key_set)
    unfolding = Unfolding(containers, _archive_limits(settings), [records])
    files = FilesLister(roots, remotes, containers, unfolding)
    parquet = ArrowParquet(
        max_columns=limits.max_columns, max_group_bytes=int(limits.max_row_group_bytes)
    )
    tables = Tables(containers, parquet, record_limits)
    stack.callback(tables.close)
    lister = Lister(files, TableLister(tables, files.find), names)
    return lister, ReadRowStep(tables, containers, files.find)


def _pipeline(
    settings: IngestSettings,
    *,
    containers: Containers,
    read_row: ReadRowStep,
    decoder: Decoder,
    assets: AssetStore,
    spool: Spool,
    encoder: Encoder,
    entities: EntityStore,
    threads: ThreadPoolExecutor,
) -> Pipeline:
    max_bytes = int(settings.media.max_file_bytes)
    splitters = _splitters(settings, decoder)
    preparation = Preparation(
        FetchStep(containers, spool),
        UnpackStep(containers),
        read_row,
        DecodeStep(
            splitters,
            RowSplitters(splitters, pack_vector),
            SizeLimits(max_bytes, int(settings.media.max_stream_bytes)),
        ),
    )
    return Pipeline(
        preparation,
        CompareStep(entities),
        EncodeStep(encoder, max_request_bytes=int(settings.encoder.max_message_bytes) // 2),
        WriteStep(entities),
        encoder=encoder,
        assets=assets,
        entities=entities,
        threads=threads,
        chunks=ChunkLimits(settings.jobs.chunk_parts, int(settings.jobs.chunk_bytes)),
        split_at_once=max(1, settings.decoding.at_once // settings.jobs.shards_at_once),
    )


def _process_limits(settings: IngestSettings) -> ProcessLimits:
    return ProcessLimits(
        settings.decoding.at_once,
        int(settings.decoding.max_memory),
        settings.decoding.max_cpu_time,
        settings.decoding.max_silence,
        settings.decoding.items,
    )


def _decode_limits(settings: IngestSettings) -> DecodeLimits:
    return DecodeLimits(settings.media.max_pixels, settings.media.max_duration)


def _splitters(settings: IngestSettings, decoder: Decoder) -> Mapping[Modality, MakeSplitter]:
    """Return who splits what; a modality that is missing here is skipped."""
    sounds = AudioSplitters(decoder, settings.media.silence)
    images = ImageLimits(int(settings.media.max_file_bytes), settings.media.max_pixels)
    return {
        Modality.AUDIO: sounds.make,
        Modality.IMAGE: ImageSplitters(decoder, images, max_parts=settings.media.max_tiles).make,
        Modality.TEXT: TextSplitters(
            decoder, SemanticCutter(), MarkdownPlain(), max_pages=settings.media.max_pages
        ).make,
        Modality.MOLECULE: MoleculeSplitters(decoder).make,
        Modality.SEQUENCE: SequenceSplitters.make,
        Modality.VIDEO: VideoSplitters(
            decoder,
            sounds,
            edge=settings.media.frame_edge,
            max_tiles=settings.media.max_tiles,
        ).make,
    }


def _server(
    settings: IngestSettings,
    jobs: Jobs,
    board: ProgressBoard,
    store: AssetStore,
    registry: CollectorRegistry,
    *,
    cascade: Cascade,
) -> GrpcServer:
    max_asset_bytes = int(settings.assets.max_bytes)

    def is_serving() -> bool:
        return server.health.is_serving()

    services = [
        Service(
            INGEST_SERVICE,
            ingest_service_pb2_grpc.add_IngestServiceServicer_to_server,
            IngestServicer(jobs, board, is_serving),
        ),
        Service(
            ASSET_SERVICE,
            asset_service_pb2_grpc.add_AssetServiceServicer_to_server,
            AssetServicer(Assets(store, cascade, max_bytes=max_asset_bytes)),
        ),
    ]
    server = GrpcServer(
        settings.server,
        server_name="ingest",
        services=[] if settings.role is Role.WORKER else services,
        features=FEATURES,
        limits={
            "max_asset_bytes": max_asset_bytes,
            "max_file_bytes": int(settings.media.max_file_bytes),
            "max_media_seconds": int(settings.media.max_duration.total_seconds()),
            "max_stream_bytes": int(settings.media.max_stream_bytes),
            "max_pages": settings.media.max_pages,
            "max_pixels": settings.media.max_pixels,
            "max_tiles": settings.media.max_tiles,
            "max_archive_members": settings.archives.max_members,
            "max_archive_bytes": int(settings.archives.max_total_bytes),
            "max_archive_ratio": settings.archives.max_ratio,
            "max_cache_bytes": int(settings.archives.cache_bytes),
            "max_record_bytes": int(settings.tables.max_record_bytes),
            "max_records": settings.tables.max_records,
            "max_lite_entities": settings.jobs.lite_max_entities,
            "max_columns": settings.tables.max_columns,
            "max_row_group_bytes": int(settings.tables.max_row_group_bytes),
            "max_unfinished_jobs": settings.jobs.max_unfinished,
            "max_unfinished_jobs_of_tenant": settings.jobs.max_unfinished_of_tenant,
        },
        registry=registry,
    )
    return server


def _run_beside(stack: AsyncExitStack, work: Callable[[], Awaitable[None]]) -> None:
    """Run something until the stack closes."""
    task = asyncio.create_task(keep_running(work))

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


async def _watch_database(database: SqlDatabase, server: GrpcServer, role: Role) -> None:
    """Say whether jobs can be asked for and worked on: not without their store."""
    while True:
        reachable = await database.is_reachable()
        server.health.set_serving(OVERALL if role is Role.WORKER else INGEST_SERVICE, reachable)
        await asyncio.sleep(_HEALTH_INTERVAL.total_seconds())


def _backoff(settings: IngestSettings) -> Backoff:
    return Backoff(settings.jobs.retry_delay, settings.jobs.max_retry_delay)


def _jobs_limits(settings: IngestSettings) -> JobsLimits:
    jobs = settings.jobs
    return JobsLimits(jobs.max_unfinished, jobs.max_unfinished_of_tenant)


def _batch_limits(settings: IngestSettings) -> BatchLimits:
    return BatchLimits(settings.jobs.batch_items, int(settings.jobs.batch_bytes))


def _archive_limits(settings: IngestSettings) -> ArchiveLimits:
    return ArchiveLimits(
        members=settings.archives.max_members,
        member_bytes=int(settings.media.max_file_bytes),
        total_bytes=int(settings.archives.max_total_bytes),
        ratio=settings.archives.max_ratio,
        stream_bytes=int(settings.media.max_stream_bytes),
    )
