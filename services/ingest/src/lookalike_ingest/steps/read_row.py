"""Step 1 for the rows of tables: what a row says, or the file that it refers to."""

import io
from dataclasses import dataclass, replace
from functools import partial

from lookalike_common.errors import LookalikeError
from lookalike_ingest.columns import parse_columns, typed
from lookalike_ingest.entities import Collection
from lookalike_ingest.job import TableSource
from lookalike_ingest.original import Blob, Row
from lookalike_ingest.places import AssetPlace, ParquetPlace, SlicePlace
from lookalike_ingest.sources.containers import Containers
from lookalike_ingest.sources.references import FindFile, absolute_uri
from lookalike_ingest.sources.tables import Tables
from lookalike_ingest.steps.fetch import opened
from lookalike_ingest.steps.step import StepError


@dataclass(frozen=True, slots=True)
class ReadRowInput:
    """One row of a job's table."""

    tenant: str
    source: TableSource
    collection: Collection
    place: SlicePlace | ParquetPlace


class ReadRowError(StepError):
    """The row, or what it refers to, cannot be had."""

    step = "fetch"


class ReadRowStep:
    """Reads rows. Blocks: call it in a thread."""

    def __init__(self, tables: Tables, containers: Containers, find: FindFile) -> None:
        self._tables = tables
        self._containers = containers
        self._find = find

    def run(self, item: ReadRowInput) -> Blob:
        """Return a row's content, opened. Raises ReadRowError."""
        try:
            return self._read(item)
        except (LookalikeError, OSError) as error:
            raise ReadRowError(error) from error

    def _read(self, item: ReadRowInput) -> Blob:
        mapping = parse_columns(item.source.columns)
        content = self._tables.read(item.tenant, item.place, mapping)
        row = content.row
        if isinstance(item.place, SlicePlace) and item.place.format == "csv":
            row = replace(row, attributes=typed(row.attributes, item.collection.attributes))
        if not row.has_content:
            return self._refer(item, content.uri, row)
        return row_blob(row)

    def _refer(self, item: ReadRowInput, reference: str, row: Row) -> Blob:
        """Return the file that a row is about, with what the row says of it."""
        found = self._find(item.tenant, absolute_uri(reference, item.source.uri))
        reopen = partial(self._containers.open, item.tenant, found.place)
        sha256 = found.place.sha256 if isinstance(found.place, AssetPlace) else ""
        return replace(opened(reopen, found.key, sha256), row=row)


def row_blob(row: Row) -> Blob:
    """Return what a row says itself."""
    data = row.to_bytes()
    return Blob(io.BytesIO(data), "", len(data), keep=False, row=row)
