"""What items are read from, and who lists them."""

from contextlib import AsyncExitStack

from lookalike_ingest.adapters.arrow_parquet import ArrowParquet
from lookalike_ingest.adapters.object_stores import ObjectStores, StoreAccess
from lookalike_ingest.adapters.sqlite_key_set import open_key_set
from lookalike_ingest.adapters.web_files import WebAccess, WebFiles, WebLimits
from lookalike_ingest.adapters.zstd import unzstd
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.composition.tuning import make_archive_limits
from lookalike_ingest.settings import IngestSettings
from lookalike_ingest.sources.canonical_names import CanonicalNames
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
from lookalike_ingest.steps.read_row import ReadRowStep


def make_remotes(settings: IngestSettings) -> Remotes:
    """Return the object stores and web addresses that the operator allows."""
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


def make_containers(
    settings: IngestSettings,
    roots: Roots,
    remotes: Remotes,
    assets: AssetStore,
    cache: LocalCache,
) -> Containers:
    """Return the one way to open what items lie in."""
    limits = ContainerLimits(make_archive_limits(settings))
    return Containers(roots, assets.open, unzstd, cache=cache, remotes=remotes, limits=limits)


def open_sources(
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
    unfolding = Unfolding(containers, make_archive_limits(settings), [records])
    files = FilesLister(roots, remotes, containers, unfolding)
    parquet = ArrowParquet(
        max_columns=limits.max_columns, max_group_bytes=int(limits.max_row_group_bytes)
    )
    tables = Tables(containers, parquet, record_limits)
    stack.callback(tables.close)
    lister = Lister(files, TableLister(tables, files.find), names)
    return lister, ReadRowStep(tables, containers, files.find)
