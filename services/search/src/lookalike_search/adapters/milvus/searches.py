"""Vector searches as Milvus requests, and their answers as neighbours."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
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
        return most_together(self.limit, 4 * self.dimensions * len(self.projection.vectors))


def most_together(limit: int, vector_bytes: int) -> int:
    """Return how many questions one request may carry, each with `limit` records as answer."""
    record = _RECORD_BYTES + vector_bytes
    return max(1, min(_MAX_VECTORS, _MAX_BYTES // (record * limit)))


class Scope(Protocol):
    """What a search looks at and returns, whatever it looks for."""

    @property
    def storage(self) -> str:
        """The physical collection."""

    @property
    def expression(self) -> str:
        """The filter; empty for everything."""

    @property
    def projection(self) -> Projection:
        """What comes back of each hit."""

    @property
    def freshness(self) -> Freshness:
        """How fresh it must be."""


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
        return await read_answers(answer.results, ask.projection, functools.partial(_neighbor, ask))


def _request(ask: Ask, vectors: Sequence[Vector]) -> milvus_pb2.SearchRequest:
    placeholder = common_pb2.PlaceholderValue(
        tag="$0",
        type=common_pb2.FloatVector,
        values=[vector_bytes(each) for each in vectors],
    )
    params = {
        "anns_field": vector_column(ask.field),
        "topk": ask.limit,
        "metric_type": METRIC_NAMES[ask.metric],
        "round_decimal": -1,
        "params": dict(ask.params),
    }
    return search_request(ask, placeholder, params)


def search_request(
    scope: Scope, placeholder: common_pb2.PlaceholderValue, params: Mapping[str, object]
) -> milvus_pb2.SearchRequest:
    """Return the request for what the placeholder holds, of whatever kind."""
    level, timestamp = milvus_consistency(scope.freshness)
    group = common_pb2.PlaceholderGroup(placeholders=[placeholder])
    return milvus_pb2.SearchRequest(
        collection_name=scope.storage,
        dsl=scope.expression,
        dsl_type=common_pb2.BoolExprV1,
        placeholder_group=group.SerializeToString(),
        output_fields=output_columns(scope.projection),
        search_params=key_values(params),
        nq=len(placeholder.values),
        consistency_level=level,
        guarantee_timestamp=timestamp,
        use_default_consistency=False,
    )


async def read_answers(
    results: Message, projection: Projection, neighbor: Callable[[EntityRecord, float], Neighbor]
) -> list[list[Neighbor]]:
    """Return each question's neighbours, by falling score and then by id.

    `neighbor` makes one of a record and Milvus's own number for it.
    """

    def read() -> list[list[Neighbor]]:
        ids = list(results.ids.str_id.data)
        records = from_columns(ids, results.fields_data, projection)
        found = map(neighbor, records, map(float, results.scores))
        return [
            sorted(itertools.islice(found, count), key=lambda each: (-each.score, each.record.id))
            for count in results.topks
        ]

    return await asyncio.to_thread(read) if len(results.scores) > _OFF_LOOP else read()


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
