"""Vector searches as Milvus requests, and their answers as neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_search.adapters.milvus.connection import Message
from lookalike_search.adapters.milvus.consistency import milvus_consistency
from lookalike_search.adapters.milvus.rows import from_columns, output_columns
from lookalike_search.adapters.milvus.schema import METRIC_NAMES, key_values, vector_column
from lookalike_search.model import EntityRecord, Metric, Neighbor, Projection, Vector
from lookalike_search.scoring import score_of_distance
from lookalike_search.store import Freshness
from lookalike_search.vectors import vector_bytes

_MAX_VECTORS: Final = 64
_MAX_BYTES: Final = 32 * 1024 * 1024
"""Of one answer, estimated."""
_RECORD_BYTES: Final = 1024
_OFF_LOOP: Final = 200
"""Rows whose conversion would hold up the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A search without its vector; those that are equal can go together."""

    tenant: str
    storage: str
    field: str
    metric: Metric
    dimensions: int
    expression: str
    limit: int
    projection: Projection
    freshness: Freshness
    params: tuple[tuple[str, int], ...]

    @property
    def most_together(self) -> int:
        """How many vectors one request may carry: its answer must stay within bounds."""
        record = _RECORD_BYTES + 4 * self.dimensions * len(self.projection.vectors)
        return max(1, min(_MAX_VECTORS, _MAX_BYTES // (record * self.limit)))


class Read(Protocol):
    """How the store reads."""

    async def __call__(self, tenant: str, storage: str, call: str, request: Message) -> Message:
        """Call an rpc, loading the collection first where it has to be."""


class Searches:
    """Runs searches that ask alike in one request."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def run(self, ask: Ask, vectors: Sequence[Vector]) -> list[list[Neighbor]]:
        """Return the neighbours of each vector, by falling score and then by id."""
        answer = await self._read(ask.tenant, ask.storage, "Search", _request(ask, vectors))
        if len(answer.results.scores) <= _OFF_LOOP:
            return list(_answers(ask, answer.results))
        return await asyncio.to_thread(lambda: list(_answers(ask, answer.results)))


def _request(ask: Ask, vectors: Sequence[Vector]) -> milvus_pb2.SearchRequest:
    level, timestamp = milvus_consistency(ask.freshness)
    placeholder = common_pb2.PlaceholderValue(
        tag="$0",
        type=common_pb2.FloatVector,
        values=[vector_bytes(each) for each in vectors],
    )
    group = common_pb2.PlaceholderGroup(placeholders=[placeholder])
    params = {
        "anns_field": vector_column(ask.field),
        "topk": ask.limit,
        "metric_type": METRIC_NAMES[ask.metric],
        "round_decimal": -1,
        "params": dict(ask.params),
    }
    return milvus_pb2.SearchRequest(
        collection_name=ask.storage,
        dsl=ask.expression,
        dsl_type=common_pb2.BoolExprV1,
        placeholder_group=group.SerializeToString(),
        output_fields=output_columns(ask.projection),
        search_params=key_values(params),
        nq=len(vectors),
        consistency_level=level,
        guarantee_timestamp=timestamp,
        use_default_consistency=False,
    )


def _answers(ask: Ask, results: Message) -> Iterator[list[Neighbor]]:
    ids = list(results.ids.str_id.data)
    records = from_columns(ids, results.fields_data, ask.projection)
    neighbors = [
        _neighbor(ask, record, float(raw))
        for record, raw in zip(records, results.scores, strict=True)
    ]
    start = 0
    for count in results.topks:
        some = neighbors[start : start + count]
        yield sorted(some, key=lambda each: (-each.score, each.record.id))
        start += count


def _neighbor(ask: Ask, record: EntityRecord, raw: float) -> Neighbor:
    """Return a neighbour from Milvus's own number: a similarity, or a squared distance for L2."""
    match ask.metric:
        case Metric.COSINE:
            distance = 1.0 - max(-1.0, min(1.0, raw))
        case Metric.EUCLIDEAN:
            distance = float(np.sqrt(max(0.0, raw)))
        case _:
            distance = -raw
    return Neighbor(record, score_of_distance(ask.metric, distance, ask.dimensions), distance)
