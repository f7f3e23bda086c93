"""Reads and writes of one collection as Milvus requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pymilvus.grpc_gen import milvus_pb2

from lookalike_search.adapters.milvus.consistency import milvus_consistency
from lookalike_search.adapters.milvus.rows import split_by_size, to_columns
from lookalike_search.adapters.milvus.schema import key_values
from lookalike_search.adapters.milvus.vector_columns import VectorColumn
from lookalike_search.adapters.milvus.word_columns import WordColumn
from lookalike_search.model import Consistency, EntityRecord, StoredCollection
from lookalike_search.store import Freshness

STRONG: Final = Freshness(consistency=Consistency.STRONG)


def upsert_requests(
    collection: StoredCollection,
    vectors: Sequence[VectorColumn],
    words: Sequence[WordColumn],
    records: Sequence[EntityRecord],
) -> list[milvus_pb2.UpsertRequest]:
    """Return as many writes as the records' size needs."""
    return [
        milvus_pb2.UpsertRequest(
            collection_name=collection.storage,
            fields_data=to_columns(collection.spec, vectors, batch, words),
            num_rows=len(batch),
        )
        for batch in split_by_size(vectors, records, words)
    ]


def delete_request(collection: StoredCollection, expression: str) -> milvus_pb2.DeleteRequest:
    """Return the deletion of what an expression is true of."""
    return milvus_pb2.DeleteRequest(collection_name=collection.storage, expr=expression)


def count_request(collection: StoredCollection, expression: str) -> milvus_pb2.QueryRequest:
    """Return the question how many entities an expression is true of."""
    return query_request(collection, expression, ["count(*)"], STRONG, {})


def query_request(
    collection: StoredCollection,
    expression: str,
    columns: Iterable[str],
    freshness: Freshness,
    params: Mapping[str, object],
) -> milvus_pb2.QueryRequest:
    """Return a read of some columns of the entities that an expression is true of."""
    level, timestamp = milvus_consistency(freshness)
    return milvus_pb2.QueryRequest(
        collection_name=collection.storage,
        expr=expression,
        output_fields=columns,
        query_params=key_values(params),
        consistency_level=level,
        guarantee_timestamp=timestamp,
        use_default_consistency=False,
    )
