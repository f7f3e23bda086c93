"""Where things are kept: the job store, the engine, given bytes and originals."""

from contextlib import AsyncExitStack

from lookalike_ingest.adapters.dbos_engine import DbosEngine
from lookalike_ingest.adapters.folder_asset_store import FolderAssetStore
from lookalike_ingest.adapters.folder_spool import FolderSpool
from lookalike_ingest.adapters.object_asset_store import ObjectAssetStore
from lookalike_ingest.adapters.object_stores import StoreAccess
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_spool import SqlSpool
from lookalike_ingest.adapters.sql_tables import METADATA
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.composition.tuning import choose_database_url
from lookalike_ingest.settings import IngestSettings
from lookalike_ingest.sources.local_cache import LocalCache
from lookalike_ingest.spool import Spool


async def open_database(settings: IngestSettings, stack: AsyncExitStack) -> SqlDatabase:
    """Open the job store's database."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = SqlDatabase(choose_database_url(settings, "jobs.sqlite"), METADATA)
    stack.push_async_callback(database.close)
    await database.open()
    return database


def make_engine(settings: IngestSettings, executor: str) -> DbosEngine:
    """Return the durable engine."""
    return DbosEngine(
        choose_database_url(settings, "engine.sqlite"),
        polling_interval=settings.jobs.polling_interval,
        executor_id=executor,
    )


def make_spool(settings: IngestSettings, database: SqlDatabase) -> Spool:
    """Return where given bytes are kept until their job has ended."""
    if settings.database_url is not None:
        return SqlSpool(database)
    return FolderSpool(settings.data_dir / "spool")


async def open_assets(
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
