"""Entities as Milvus columns, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pymilvus.grpc_gen import schema_pb2

from lookalike_search.adapters.milvus.schema import (
    ATTRIBUTES,
    COLUMN_TYPES,
    HASH,
    ID,
    ITEM,
    SYSTEM,
    WRITTEN,
    has_times,
    typed_attributes,
)
from lookalike_search.adapters.milvus.vector_columns import VectorColumn
from lookalike_search.adapters.milvus.word_columns import TEXT, WordColumn
from lookalike_search.attributes import canonical_json, format_timestamp
from lookalike_search.filters import column_name
from lookalike_search.model import (
    AttributeSpec,
    CollectionSpec,
    EntityRecord,
    JsonValue,
    Projection,
    Vector,
)

MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Most that one write sends; larger ones are split."""

_ROW_OVERHEAD: Final = 256


def split_by_size(
    vectors: Sequence[VectorColumn],
    records: Sequence[EntityRecord],
    words: Sequence[WordColumn] = (),
) -> Iterator[list[EntityRecord]]:
    """Yield the records in batches of at most `MAX_BATCH_BYTES`; a larger one comes alone."""
    overhead = _ROW_OVERHEAD + sum(each.row_bytes for each in vectors)
    batch: list[EntityRecord] = []
    total = 0
    for record in records:
        size = overhead + _size(record) + sum(each.row_bytes(record) for each in words)
        if batch and total + size > MAX_BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(record)
        total += size
    if batch:
        yield batch


def to_columns(
    spec: CollectionSpec,
    vectors: Sequence[VectorColumn],
    records: Sequence[EntityRecord],
    words: Sequence[WordColumn] = (),
) -> list[schema_pb2.FieldData]:
    """Return the columns of whole entities."""
    return [
        _texts(ID, [each.id for each in records]),
        _texts(ITEM, [each.item for each in records]),
        _texts(HASH, [each.content_hash for each in records]),
        _texts(TEXT, [each.text for each in records]),
        _jsons(SYSTEM, [_system(each) for each in records]),
        _jsons(ATTRIBUTES, [each.attributes for each in records]),
        *([_times(records)] if has_times(spec) else []),
        *(_typed(attribute, records) for attribute in typed_attributes(spec)),
        *(
            data
            for column in vectors
            for data in column.pack([_vector(each, column) for each in records])
        ),
        *(data for column in words for data in column.pack(records)),
    ]


def output_columns(projection: Projection, vectors: Iterable[VectorColumn]) -> list[str]:
    """Return the names of the columns that a projection needs."""
    shown = [each for each in vectors if each.field in projection.vectors]
    return [
        ID,
        ITEM,
        HASH,
        *([TEXT] if projection.text else []),
        *([SYSTEM] if projection.system else []),
        *([ATTRIBUTES] if projection.attributes else []),
        *(each.name for each in shown),
        *(each.present_name for each in shown if each.present_name),
    ]


def from_columns(
    ids: Sequence[str],
    columns: Iterable[schema_pb2.FieldData],
    projection: Projection,
    vectors: Iterable[VectorColumn],
) -> list[EntityRecord]:
    """Return the entities that the columns hold, in their order."""
    by_name = {each.field_name: each for each in columns}
    count = len(ids)
    items = _read_texts(by_name.get(ITEM), count)
    hashes = _read_texts(by_name.get(HASH), count)
    texts = _read_texts(by_name.get(TEXT), count)
    systems = _read_jsons(by_name.get(SYSTEM), count)
    attributes = _read_jsons(by_name.get(ATTRIBUTES), count)
    times = _read_times(by_name.get(WRITTEN), count)
    unpacked = {
        each.field: _unpack(each, by_name, count)
        for each in vectors
        if count and each.field in projection.vectors
    }
    return [
        EntityRecord(
            id=ids[row],
            item=items[row],
            content_hash=hashes[row],
            text=texts[row],
            attributes=attributes[row],
            vectors=_vectors(unpacked, row),
            write_time=times[row],
            **_read_system(systems[row]),
        )
        for row in range(count)
    ]


def _vector(record: EntityRecord, column: VectorColumn) -> Vector | None:
    """Return an entity's vector; only an optional one may be missing."""
    return record.vectors.get(column.field) if column.optional else record.vectors[column.field]


def _unpack(
    column: VectorColumn, by_name: Mapping[str, schema_pb2.FieldData], count: int
) -> Sequence[Vector | None]:
    vectors = column.unpack(by_name[column.name], count)
    if not column.present_name:
        return vectors
    present = by_name[column.present_name].scalars.bool_data.data
    return [each if there else None for each, there in zip(vectors, present, strict=True)]


def _vectors(unpacked: Mapping[str, Sequence[Vector | None]], row: int) -> dict[str, Vector]:
    found = ((name, some[row]) for name, some in unpacked.items())
    return {name: vector for name, vector in found if vector is not None}


def read_ids(columns: Iterable[schema_pb2.FieldData]) -> list[str]:
    """Return the primary keys of a query's answer."""
    return next(
        (list(each.scalars.string_data.data) for each in columns if each.field_name == ID), []
    )


def _size(record: EntityRecord) -> int:
    texts = len(record.text.encode()) + len(record.item.encode()) + len(record.source_uri.encode())
    attributes = 2 * len(canonical_json(record.attributes))  # once more in typed columns, at most
    return texts + attributes


def _system(record: EntityRecord) -> dict[str, JsonValue]:
    facts: dict[str, JsonValue] = {
        "asset": record.asset,
        "segment": dict(record.segment),
        "source_uri": record.source_uri,
        "generation": record.generation,
        "create_generation": record.create_generation,
        "confirmed": record.confirmed,
        "create_time": format_timestamp(record.create_time) if record.create_time else "",
        "update_time": format_timestamp(record.update_time) if record.update_time else "",
    }
    return {key: value for key, value in facts.items() if value}


def _read_system(facts: Mapping[str, Any]) -> dict[str, Any]:  # arguments of EntityRecord
    times = {
        name: datetime.fromisoformat(facts[name])
        for name in ("create_time", "update_time")
        if name in facts
    }
    return {**facts, **times}


def _texts(name: str, values: Sequence[str]) -> schema_pb2.FieldData:
    return schema_pb2.FieldData(
        type=schema_pb2.VarChar,
        field_name=name,
        scalars=schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=values)),
    )


def _jsons(name: str, values: Sequence[object]) -> schema_pb2.FieldData:
    data = [canonical_json(value) for value in values]
    return schema_pb2.FieldData(
        type=schema_pb2.JSON,
        field_name=name,
        scalars=schema_pb2.ScalarField(json_data=schema_pb2.JSONArray(data=data)),
    )


def _times(records: Sequence[EntityRecord]) -> schema_pb2.FieldData:
    """Return the times of writes, in milliseconds since 1970."""
    data = [_milliseconds(each.write_time or each.update_time) for each in records]
    return schema_pb2.FieldData(
        type=schema_pb2.Int64,
        field_name=WRITTEN,
        scalars=schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=data)),
    )


def _milliseconds(moment: datetime | None) -> int:
    return round(moment.timestamp() * 1000) if moment is not None else 0


def _read_times(column: schema_pb2.FieldData | None, count: int) -> Sequence[datetime | None]:
    if column is None:
        return [None] * count
    return [datetime.fromtimestamp(each / 1000, UTC) for each in column.scalars.long_data.data]


def _typed(attribute: AttributeSpec, records: Sequence[EntityRecord]) -> schema_pb2.FieldData:
    """Return an attribute's own column; what is missing has a value that no filter looks at."""
    kind = COLUMN_TYPES[attribute.type]
    empty, wrap = _SCALARS[kind]
    values = [each.attributes.get(attribute.name, empty) for each in records]
    return schema_pb2.FieldData(
        type=kind, field_name=column_name(attribute.name), scalars=wrap(values)
    )


_SCALARS: Final[Mapping[int, tuple[JsonValue, Callable[[list[Any]], schema_pb2.ScalarField]]]] = {
    schema_pb2.VarChar: (
        "",
        lambda data: schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=data)),
    ),
    schema_pb2.Int64: (
        0,
        lambda data: schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=data)),
    ),
    schema_pb2.Double: (
        0.0,
        lambda data: schema_pb2.ScalarField(double_data=schema_pb2.DoubleArray(data=data)),
    ),
    schema_pb2.Bool: (
        False,
        lambda data: schema_pb2.ScalarField(bool_data=schema_pb2.BoolArray(data=data)),
    ),
}
"""For each type of column: what stands for a missing value, and how values are wrapped."""


def _read_texts(column: schema_pb2.FieldData | None, count: int) -> Sequence[str]:
    return list(column.scalars.string_data.data) if column is not None else [""] * count


def _read_jsons(
    column: schema_pb2.FieldData | None, count: int
) -> Sequence[Mapping[str, Any]]:  # JSON objects that we wrote
    if column is None:
        return [{}] * count
    # One text for all: parsing costs less than calling the parser does.
    parsed: list[Mapping[str, Any]] = json.loads(b"[%b]" % b",".join(column.scalars.json_data.data))
    return parsed
