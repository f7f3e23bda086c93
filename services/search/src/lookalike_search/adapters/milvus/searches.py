"""Vector searches as Milvus requests, and the answers to searches as neighbours."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_search.adapters.milvus.connection import Message
from lookalike_search.adapters.milvus.consistency import milvus_consistency
from lookalike_search.adapters.milvus.rows import from_columns, output_columns
from lookalike_search.adapters.milvus.schema import key_values
from lookalike_search.adapters.milvus.vector_columns import VectorColumn
from lookalike_search.model import Neighbor, Projection, Vector
from lookalike_search.store import Freshness

_MAX_VECTORS: Final = 128
"""Of one request; Lite compares each with all rows at once, and holds the numbers meanwhile."""
_MAX_BYTES: Final = 32 * 1024 * 1024
"""Of one answer, estimated."""
_RECORD_BYTES: Final = 1024
_OFF_LOOP: Final = 200
"""Rows whose conversion would hold up the event loop."""

Measure: TypeAlias = Callable[[int, slice], Sequence[tuple[float, float | None]]]
"""Returns score and distance of each hit, given the number of the question and where its hits are
in Milvus's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A search without its vector; those that are equal can go together."""

    tenant: str
    storage: str
    column: VectorColumn
    """What is searched."""
    columns: tuple[VectorColumn, ...]
    """All of the collection's."""
    expression: str
    limit: int
    projection: Projection
    freshness: Freshness
    params: tuple[tuple[str, int], ...]
    alone: bool = False
    """Send no others along."""

    @property
    def most_together(self) -> int:
        """How many vectors one request may carry: its answer must stay within bounds."""
        return 1 if self.alone else most_together(self)

    def narrowed(self, window: int, counts: Counts | None) -> Ask:
        """Return the search for so many, of those only that have so many bits."""
        if counts is None:
            return replace(self, limit=window)
        name = self.column.count_name
        some = f"{name} >= {counts.low} and {name} <= {counts.high}"
        expression = f"({self.expression}) and {some}" if self.expression else some
        return replace(self, limit=window, expression=expression)


@dataclass(frozen=True, slots=True)
class Counts:
    """A range of numbers of bits, both ends included."""

    low: int
    high: int

    def halves(self, near: int) -> tuple[Counts, Counts]:
        """Return both halves, the one that is nearer to a number first."""
        middle = (self.low + self.high) // 2
        low, high = Counts(self.low, middle), Counts(middle + 1, self.high)
        return (low, high) if near <= middle else (high, low)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Milvus found for one vector."""

    neighbors: list[Neighbor]
    """By falling score and then by id."""
    reach: float
    """Milvus's own number for the furthest of them; 0 if there is none."""


class Scope(Protocol):
    """What a search looks at and returns, whatever it looks for."""

    @property
    def storage(self) -> str:
        """The physical collection."""

    @property
    def columns(self) -> tuple[VectorColumn, ...]:
        """How the collection's vectors are stored."""

    @property
    def expression(self) -> str:
        """The filter; empty for everything."""

    @property
    def limit(self) -> int:
        """How many hits come back at most."""

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

    async def run(self, ask: Ask, vectors: Sequence[Vector]) -> list[Answer]:
        """Return what there is for each vector."""
        answer = await self._read(ask.tenant, ask.storage, "Search", _request(ask, vectors))
        results = answer.results
        measure = functools.partial(_measure, ask, vectors, results)
        found = await read_answers(ask, results, measure)
        ends = itertools.accumulate(results.topks)
        return [
            Answer(some, results.scores[end - 1] if some else 0.0)
            for some, end in zip(found, ends, strict=True)
        ]


def most_together(scope: Scope) -> int:
    """Return how many questions one request may carry: its answer must stay within bounds."""
    shown = (each for each in scope.columns if each.field in scope.projection.vectors)
    record = _RECORD_BYTES + sum(each.row_bytes for each in shown)
    return max(1, min(_MAX_VECTORS, _MAX_BYTES // (record * scope.limit)))


def search_request(
    scope: Scope,
    placeholder: common_pb2.PlaceholderValue,
    params: Mapping[str, object],
    extra_columns: Iterable[str] = (),
) -> milvus_pb2.SearchRequest:
    """Return the request for what the placeholder holds, of whatever kind."""
    level, timestamp = milvus_consistency(scope.freshness)
    group = common_pb2.PlaceholderGroup(placeholders=[placeholder])
    return milvus_pb2.SearchRequest(
        collection_name=scope.storage,
        dsl=scope.expression,
        dsl_type=common_pb2.BoolExprV1,
        placeholder_group=group.SerializeToString(),
        output_fields=[*output_columns(scope.projection, scope.columns), *extra_columns],
        search_params=key_values(params),
        nq=len(placeholder.values),
        consistency_level=level,
        guarantee_timestamp=timestamp,
        use_default_consistency=False,
    )


async def read_answers(scope: Scope, results: Message, measure: Measure) -> list[list[Neighbor]]:
    """Return each question's neighbours, by falling score and then by id."""

    def read() -> list[list[Neighbor]]:
        ids = list(results.ids.str_id.data)
        records = from_columns(ids, results.fields_data, scope.projection, scope.columns)
        found: list[list[Neighbor]] = []
        start = 0
        for question, count in enumerate(results.topks):
            hits = slice(start, start + count)
            neighbors = [
                Neighbor(record, score, distance)
                for record, (score, distance) in zip(
                    records[hits], measure(question, hits), strict=True
                )
            ]
            found.append(sorted(neighbors, key=lambda each: (-each.score, each.record.id)))
            start += count
        return found

    return await asyncio.to_thread(read) if len(results.scores) > _OFF_LOOP else read()


def _request(ask: Ask, vectors: Sequence[Vector]) -> milvus_pb2.SearchRequest:
    params = {
        "anns_field": ask.column.name,
        "topk": ask.limit,
        "metric_type": ask.column.metric_name,
        "round_decimal": -1,
        "params": dict(ask.params),
    }
    counts = filter(None, [ask.column.count_name])
    return search_request(ask, ask.column.placeholder(vectors), params, counts)


def _measure(
    ask: Ask, vectors: Sequence[Vector], results: Message, question: int, hits: slice
) -> list[tuple[float, float]]:
    counts: Sequence[int] = ()
    if ask.column.count_name:
        counts = next(
            each.scalars.long_data.data[hits]
            for each in results.fields_data
            if each.field_name == ask.column.count_name
        )
    return ask.column.measure(vectors[question], results.scores[hits], counts)
