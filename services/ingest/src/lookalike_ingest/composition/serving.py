"""The server, and what runs beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

from prometheus_client import CollectorRegistry

from lookalike.asset.v1 import asset_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2_grpc
from lookalike_common.health import OVERALL
from lookalike_common.server import GrpcServer, Service
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.assets import Assets
from lookalike_ingest.cascade import Cascade
from lookalike_ingest.concurrency import keep_running
from lookalike_ingest.jobs import Jobs
from lookalike_ingest.progress_board import ProgressBoard
from lookalike_ingest.rpc.assets import SERVICE as ASSET_SERVICE
from lookalike_ingest.rpc.assets import AssetServicer
from lookalike_ingest.rpc.ingest import SERVICE as INGEST_SERVICE
from lookalike_ingest.rpc.ingest import IngestServicer
from lookalike_ingest.settings import IngestSettings, Role

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


def make_server(
    settings: IngestSettings,
    jobs: Jobs,
    board: ProgressBoard,
    store: AssetStore,
    registry: CollectorRegistry,
    *,
    cascade: Cascade,
) -> GrpcServer:
    """Return the server with both services, and what it publishes about itself."""
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


def run_beside(stack: AsyncExitStack, work: Callable[[], Awaitable[None]]) -> None:
    """Run something until the stack closes."""
    task = asyncio.create_task(keep_running(work))

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


async def watch_database(database: SqlDatabase, server: GrpcServer, role: Role) -> None:
    """Say whether jobs can be asked for and worked on: not without their store."""
    while True:
        reachable = await database.is_reachable()
        server.health.set_serving(OVERALL if role is Role.WORKER else INGEST_SERVICE, reachable)
        await asyncio.sleep(_HEALTH_INTERVAL.total_seconds())
