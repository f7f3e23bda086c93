"""Parquet through pyarrow, batch by batch, in memory bounded by a batch and some pages.

pyarrow reads through the file object that it is given, never by a name. Vectors are never turned
into Python numbers: they stay packed all the way to the search service.
"""

import base64
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.columns import Value
from lookalike_ingest.job import Json
from lookalike_ingest.parquet import ParquetFacts

_BATCH_ROWS = 256
_BUFFER_BYTES = 1 << 20


class ArrowParquet:
    """`ParquetTables` with pyarrow."""

    def __init__(self, *, max_columns: int, max_group_bytes: int) -> None:
        self._max_columns = max_columns
        self._max_group_bytes = max_group_bytes

    def describe(self, file: BinaryIO) -> ParquetFacts:
        """See `ParquetTables`."""
        with _errors_translated():
            metadata = pq.ParquetFile(file).metadata
            columns = metadata.schema.to_arrow_schema().names
            groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        if metadata.num_columns > self._max_columns:
            raise LimitExceededError(
                f"the table has {metadata.num_columns} columns; "
                f"at most {self._max_columns} are allowed"
            )
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > self._max_group_bytes:
            raise LimitExceededError(
                f"a row group has {largest} bytes; at most {self._max_group_bytes} are allowed"
            )
        return ParquetFacts(columns, [group.num_rows for group in groups])

    def read_group(
        self,
        file: BinaryIO,
        group: int,
        columns: Sequence[str] | None,
        vectors: Collection[str] = (),
    ) -> Iterator[Sequence[Mapping[str, Value]]]:
        """See `ParquetTables`."""
        with _errors_translated():
            opened = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            batches = opened.iter_batches(
                _BATCH_ROWS,
                row_groups=[group],
                columns=None if columns is None else list(columns),
                use_threads=False,
            )
            for batch in batches:
                yield _rows(batch, vectors)


def _rows(batch: pa.RecordBatch, vectors: Collection[str]) -> Sequence[Mapping[str, Value]]:
    names = batch.schema.names
    columns = [
        _vectors(batch.column(index)) if name in vectors else _values(batch.column(index))
        for index, name in enumerate(names)
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] or [
        {} for _ in range(batch.num_rows)
    ]


def _vectors(column: pa.Array) -> Sequence[Value]:
    """Return little-endian float32 of lists of numbers; other columns as they are."""
    kind = column.type
    if not _is_list(kind) or not _is_number(kind.value_type):
        return _values(column)
    if pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    whole = column.values.cast(pa.float32(), safe=False)
    numbers = memoryview(whole.to_numpy(zero_copy_only=False).astype("<f4")).cast("B")
    ends = column.offsets.to_pylist()
    valid = column.is_valid().to_pylist()
    gaps = whole.null_count > 0
    return [
        bytes(numbers[4 * start : 4 * end])
        if present and not (gaps and whole.slice(start, end - start).null_count)
        else None
        for start, end, present in zip(ends, ends[1:], valid, strict=False)
    ]


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _values(column: pa.Array) -> Sequence[Value]:
    return [_to_json(value) for value in column.to_pylist()]


def _to_json(value: object) -> Json:
    """Return a value as JSON has it: instants as RFC 3339, decimals as numbers, bytes as Base64."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _to_json(each) for key, each in value.items()}
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    return str(value)


def _to_instant(value: datetime) -> Json:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()


_CONVERSIONS: tuple[tuple[type, Callable[[Any], Json]], ...] = (
    (datetime, _to_instant),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, timedelta.total_seconds),
    (Decimal, float),
    (bytes, lambda value: base64.b64encode(value).decode()),
)


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # the file system's, not pyarrow's own about what it read
        words = str(error).splitlines()[0][:200]
        raise InvalidContentError(f"the Parquet file cannot be read: {words}") from error
