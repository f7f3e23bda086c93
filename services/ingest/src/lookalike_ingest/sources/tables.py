"""Tables: which rows a file has, and what is in one of them.

A table's rows are found once, when a job is listed, and each is read again by its place when its
turn comes. Whether the file is CSV, JSONL or Parquet is nobody else's business.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    SourceChangedError,
    UnsupportedMediaError,
)
from lookalike_ingest.columns import (
    Columns,
    RowContent,
    Value,
    attribute_names,
    check_present,
    read_content,
)
from lookalike_ingest.parquet import ParquetTables
from lookalike_ingest.places import Compression, ContainerPlace, ParquetPlace, SlicePlace
from lookalike_ingest.sources.containers import Containers, detect_compression
from lookalike_ingest.sources.csv_rows import CsvHeader, CsvRows, parse_row
from lookalike_ingest.sources.formats import SNIFFED_BYTES, TableFormat, table_format
from lookalike_ingest.sources.json_lines import parse_json_line, read_json_lines
from lookalike_ingest.sources.lines import Record, RecordLimits, read_lines
from lookalike_ingest.sources.parquet_rows import ParquetRows

_KEPT_HEADERS = 64
_ROW_BYTES = 1000
"""What a row of a Parquet file is taken for where batches are made."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """One row of a table."""

    number: int
    """From 1."""
    place: SlicePlace | ParquetPlace
    size: int
    values: Mapping[str, Value] = field(default_factory=dict)
    """Cells by column; of Parquet only those that a listing needs."""
    problem: LookalikeError | None = None


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that was opened to be listed."""

    tenant: str
    container: ContainerPlace
    name: str
    compression: Compression
    version: str


class Tables:
    """Lists and reads rows. Blocks: call it in a thread."""

    def __init__(
        self, containers: Containers, parquet: ParquetTables, limits: RecordLimits
    ) -> None:
        self._containers = containers
        self._parquet = parquet
        self._parquet_rows = ParquetRows(parquet)
        self._limits = limits
        self._headers: dict[tuple[str, ContainerPlace, str], CsvHeader] = {}

    def list_rows(
        self, tenant: str, container: ContainerPlace, name: str, mapping: Columns
    ) -> Iterator[FoundRow]:
        """Yield a table's rows.

        Raises errors of `lookalike_common.errors` for a table that is none, that lacks a mapped
        column, or that breaks off; what was yielded before stays good.
        """
        with closing(self._containers.open(tenant, container)) as file:
            compression = detect_compression(file)
        version = self._containers.version(tenant, container)
        table = _Table(tenant, container, name, compression, version)
        match self._format(table):
            case "parquet":
                found = self._list_parquet(table, mapping)
            case "jsonl":
                found = self._list_json(table)
            case "csv":
                found = self._list_csv(table, mapping)
        for row in found:
            if row.number > self._limits.count:
                raise LimitExceededError(
                    f"the table has more than {self._limits.count} rows; that many were taken"
                )
            yield row

    def read(self, tenant: str, place: SlicePlace | ParquetPlace, mapping: Columns) -> RowContent:
        """Return what a row says. Raises errors of `lookalike_common.errors`."""
        if isinstance(place, ParquetPlace):
            values = self._read_parquet(tenant, place, mapping)
            return read_content(values, mapping, attribute_names(values, mapping))
        with closing(self._containers.open(tenant, place)) as file:
            data = file.read()
        if place.format == "csv":
            header = self._header(tenant, place)
            values = self._cells(header, data)
            return read_content(values, mapping, attribute_names(header.columns, mapping))
        values = parse_json_line(data, self._limits.columns)
        return read_content(values, mapping, attribute_names(values, mapping))

    def close(self) -> None:
        """Let go of what is kept open."""
        self._parquet_rows.close()

    def _format(self, table: _Table) -> TableFormat:
        with closing(self._stream(table)) as file:
            return table_format(table.name, file.read(SNIFFED_BYTES))

    def _stream(self, table: _Table) -> BinaryIO:
        return self._containers.open_stream(table.tenant, table.container, table.compression)

    def _list_csv(self, table: _Table, mapping: Columns) -> Iterator[FoundRow]:
        with closing(self._stream(table)) as file:
            rows = CsvRows(read_lines(file, self._limits.bytes), self._limits)
            check_present(rows.header.columns, mapping)
            attribute_names(rows.header.columns, mapping)
            read = partial(self._cells, rows.header)
            for number, record in enumerate(rows, 1):
                yield _found(number, record, table, "csv", read)

    def _list_json(self, table: _Table) -> Iterator[FoundRow]:
        with closing(self._stream(table)) as file:
            lines = read_lines(file, self._limits.bytes)
            read = partial(parse_json_line, max_columns=self._limits.columns)
            for number, record in enumerate(read_json_lines(lines, self._limits), 1):
                yield _found(number, record, table, "jsonl", read)

    def _list_parquet(self, table: _Table, mapping: Columns) -> Iterator[FoundRow]:
        if table.compression:
            raise UnsupportedMediaError("Parquet is packed inside; unpack the file around it")
        with closing(self._containers.open(table.tenant, table.container)) as file:
            facts = self._parquet.describe(file)
            check_present(facts.columns, mapping)
            attribute_names(facts.columns, mapping)
            columns = [each for each in (mapping.item, mapping.uri) if each]
            number = 0
            for group, rows in enumerate(facts.groups):
                for row, values in enumerate(self._group(file, group, rows, columns)):
                    number += 1
                    place = ParquetPlace(table.container, group, row, number, table.version)
                    yield FoundRow(number, place, _ROW_BYTES, values)

    def _group(
        self, file: BinaryIO, group: int, rows: int, columns: Sequence[str]
    ) -> Iterator[Mapping[str, Value]]:
        if not columns:
            yield from ({} for _ in range(rows))
            return
        for batch in self._parquet.read_group(file, group, columns):
            yield from batch

    def _read_parquet(
        self, tenant: str, place: ParquetPlace, mapping: Columns
    ) -> Mapping[str, Value]:
        return self._parquet_rows.read(
            (tenant, place.container, place.version),
            partial(self._open_unchanged, tenant, place),
            place.row_group,
            place.row,
            frozenset(mapping.vectors.values()),
        )

    def _open_unchanged(self, tenant: str, place: ParquetPlace) -> BinaryIO:
        if place.version and place.version != self._containers.version(tenant, place.container):
            raise SourceChangedError("the file changed since it was listed")
        return self._containers.open(tenant, place.container)

    def _header(self, tenant: str, place: SlicePlace) -> CsvHeader:
        key = tenant, place.container, place.version
        header = self._headers.get(key)
        if header is None:
            stream = self._containers.open_stream(tenant, place.container, place.compression)
            with closing(stream) as file:
                lines = read_lines(file, self._limits.bytes)
                header = CsvRows(lines, self._limits).header
            if len(self._headers) >= _KEPT_HEADERS:
                self._headers.clear()
            self._headers[key] = header
        return header

    def _cells(self, header: CsvHeader, data: bytes) -> Mapping[str, Value]:
        cells = parse_row(data, header.delimiter, self._limits.columns)
        if len(cells) != len(header.columns):
            raise InvalidContentError(
                f"the row has {len(cells)} values, the header names {len(header.columns)} columns"
            )
        return {column: cell or None for column, cell in zip(header.columns, cells, strict=True)}


def _found(
    number: int,
    record: Record,
    table: _Table,
    written_as: TableFormat,
    read: Callable[[bytes], Mapping[str, Value]],
) -> FoundRow:
    place = SlicePlace(
        table.container,
        table.compression,
        record.offset,
        record.length,
        table.name,
        written_as,
        record.line,
        table.version,
    )
    if record.problem is not None:
        return FoundRow(number, place, record.length, problem=record.problem)
    try:
        return FoundRow(number, place, record.length, read(record.data))
    except LookalikeError as error:
        return FoundRow(number, place, record.length, problem=error)
