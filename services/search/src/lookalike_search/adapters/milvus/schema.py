"""The data model as a Milvus schema: which columns a collection has, and how they are indexed.

| column | what |
|---|---|
| `id` | primary key |
| `item`, `hash`, `text` | texts |
| `sys` | JSON: asset, segment, source, generations, times |
| `attrs` | JSON: the truth of all attributes; no nulls, missing is missing |
| `f_<name>` | a declared filterable or full-text attribute, typed and never null |
| `written` | when it was last written, in milliseconds since 1970 |
| `v_<name>` | a vector field; see `vector_columns` for bits |
| `n_<name>` | how many bits of a vector are set, where that is needed |
| `k_<name>` | the words of a full-text attribute, or of `text`: `word_columns` |

There is no dynamic field: what a caller writes never becomes a column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pymilvus.grpc_gen import common_pb2, schema_pb2

from lookalike_search.adapters.milvus.vector_columns import VectorColumn
from lookalike_search.adapters.milvus.word_columns import TEXT, WordColumn
from lookalike_search.filters import column_name
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    CollectionSpec,
    IndexSpec,
    IndexType,
    VectorFieldSpec,
    VectorKind,
)

ID: Final = "id"
ITEM: Final = "item"
HASH: Final = "hash"
SYSTEM: Final = "sys"
ATTRIBUTES: Final = "attrs"
WRITTEN: Final = "written"

_ID_BYTES: Final = 512
_ITEM_BYTES: Final = 1024
_HASH_BYTES: Final = 64
_TEXT_BYTES: Final = 65_535

COLUMN_TYPES: Final[Mapping[AttributeType, int]] = {
    AttributeType.STRING: schema_pb2.VarChar,
    AttributeType.INT: schema_pb2.Int64,
    AttributeType.DOUBLE: schema_pb2.Double,
    AttributeType.BOOL: schema_pb2.Bool,
    AttributeType.TIMESTAMP: schema_pb2.VarChar,
}
"""Types of attributes that can have a column of their own."""

_HNSW: Final[Mapping[str, float]] = {"M": 16, "efConstruction": 200}


def typed_attributes(spec: CollectionSpec) -> list[AttributeSpec]:
    """Return the attributes that have a column of their own."""
    return [each for each in spec.attributes if each.has_column and each.type in COLUMN_TYPES]


def entity_schema(
    name: str,
    spec: CollectionSpec,
    vectors: Iterable[VectorColumn],
    words: Sequence[WordColumn] = (),
) -> bytes:
    """Return the serialized schema of a physical collection."""
    native = [each for each in words if each.native]
    analyzers = {each.source: each.index.analyzer for each in native}
    fields = [
        _varchar(ID, _ID_BYTES, primary=True),
        _varchar(ITEM, _ITEM_BYTES),
        _varchar(HASH, _HASH_BYTES),
        _varchar(TEXT, _TEXT_BYTES, analyzer=analyzers.get(TEXT, "")),
        schema_pb2.FieldSchema(name=SYSTEM, data_type=schema_pb2.JSON),
        schema_pb2.FieldSchema(name=ATTRIBUTES, data_type=schema_pb2.JSON),
        *(_times(spec)),
        *(_typed(each, analyzers, spec.partition_key) for each in typed_attributes(spec)),
        *(schema for each in vectors for schema in each.schemas()),
        *(each.schema() for each in words),
    ]
    return _schema(name, fields, [each.function() for each in native])


def revision_schema(name: str) -> bytes:
    """Return the serialized schema of a collection that only holds properties."""
    vectors = schema_pb2.FieldSchema(
        name="v", data_type=schema_pb2.FloatVector, type_params=key_values({"dim": 2})
    )
    return _schema(name, [_varchar(ID, _ID_BYTES, primary=True), vectors])


def key_values(pairs: Mapping[str, object]) -> list[common_pb2.KeyValuePair]:
    """Return pairs in Milvus's form; values are texts, or JSON where they are not."""
    return [
        common_pb2.KeyValuePair(key=key, value=value if isinstance(value, str) else _json(value))
        for key, value in pairs.items()
    ]


def column_indexes(
    spec: CollectionSpec,
    columns: Iterable[VectorColumn],
    automatic: IndexType,
    words: Iterable[WordColumn] = (),
) -> dict[str, Mapping[str, object]]:
    """Return how each column is indexed that has to be, in Milvus's words.

    `automatic` is for dense vectors; bits are so fast to compare that all of them are.
    """
    vectors = {
        column.name: index_params(column, resolve_index(field, automatic))
        for field, column in zip(spec.vector_fields, columns, strict=True)
    }
    return vectors | {each.name: each.index_params() for each in words}


def index_params(column: VectorColumn, index: IndexSpec) -> dict[str, object]:
    """Return how a vector field is indexed, in Milvus's words."""
    params = {name: _whole(value) for name, value in index.params.items()}
    if index.type is IndexType.IVF_PQ:
        params.setdefault("m", _code_length(column.dimensions))
    return {
        "index_type": column.index(index),
        "metric_type": column.metric_name,
        "params": params,
    }


def resolve_index(field: VectorFieldSpec, automatic: IndexType) -> IndexSpec:
    """Return a field's index with its type decided and its necessary settings filled in."""
    index = field.index
    if field.kind is not VectorKind.DENSE:
        automatic = IndexType.FLAT
    kind = automatic if index.type is IndexType.AUTO else index.type
    defaults = _HNSW if kind is IndexType.HNSW else _lists(kind)
    return IndexSpec(type=kind, params={**defaults, **index.params})


def _lists(kind: IndexType) -> Mapping[str, float]:
    clustered = {IndexType.IVF_FLAT, IndexType.IVF_SQ8, IndexType.IVF_PQ, IndexType.SCANN}
    return {"nlist": 128} if kind in clustered else {}


def _code_length(dimensions: int) -> int:
    """Return how many bytes a product quantizer makes of a vector: one for two dimensions or more.

    Milvus has no default for it, and it must divide the dimensions.
    """
    return next(each for each in range(max(1, dimensions // 2), 0, -1) if not dimensions % each)


def _schema(
    name: str,
    fields: Iterable[schema_pb2.FieldSchema],
    functions: Iterable[schema_pb2.FunctionSchema] = (),
) -> bytes:
    schema = schema_pb2.CollectionSchema(name=name, fields=fields, functions=functions)
    return bytes(schema.SerializeToString())


def _varchar(
    name: str, max_bytes: int, *, primary: bool = False, analyzer: str = ""
) -> schema_pb2.FieldSchema:
    params: dict[str, object] = {"max_length": max_bytes}
    if analyzer:
        params |= {"enable_analyzer": True, "analyzer_params": {"type": analyzer}}
    return schema_pb2.FieldSchema(
        name=name,
        data_type=schema_pb2.VarChar,
        is_primary_key=primary,
        type_params=key_values(params),
    )


def has_times(spec: CollectionSpec) -> bool:
    """Whether the collection has a column with the times of writes."""
    return spec.layout >= 2


def _times(spec: CollectionSpec) -> list[schema_pb2.FieldSchema]:
    column = schema_pb2.FieldSchema(name=WRITTEN, data_type=schema_pb2.Int64)
    return [column] if has_times(spec) else []


def _typed(
    attribute: AttributeSpec, analyzers: Mapping[str, str], partition_key: str
) -> schema_pb2.FieldSchema:
    kind, name = COLUMN_TYPES[attribute.type], column_name(attribute.name)
    if kind == schema_pb2.VarChar:
        field = _varchar(name, _TEXT_BYTES, analyzer=analyzers.get(name, ""))
    else:
        field = schema_pb2.FieldSchema(name=name, data_type=kind)
    field.is_partition_key = attribute.name == partition_key
    return field


def _whole(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _json(value: object) -> str:
    return json.dumps(value)
