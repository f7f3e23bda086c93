"""What the search benchmark measures on one collection, each a mapping of figures.

Ours and theirs take turns within each measurement, so that whatever else the machine does falls on
both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import Any, Final

from lookalike.search.v1.search_service_pb2 import Query
from tests.bench.load import Call, Result, closed_loop
from tests.bench.search_callers import Caller, Direct, Service, vector_query
from tests.bench.search_corpus import BUCKETS, Corpus, Neighbours, recall

Figures = dict[str, Any]
Words = Sequence[str]

CONCURRENCIES: Final = (1, 8, 32)
SELECTIVITIES: Final = (1, 10, 50)
"""Percent of the rows that match."""
RECALLS: Final = (1, 10, 100)
_GRID_QUERIES: Final = (1, 10, 100)
_GRID_TOP_K: Final = (1, 10, 100, 500)
_WRITTEN_AT_ONCE: Final = 100
_TURNS: Final = 2


class Loads:
    """One filled collection, both ways into it, and for how many seconds to measure each."""

    def __init__(self, ours: Service, theirs: Direct, corpus: Corpus, seconds: float) -> None:
        self._ours = ours
        self._theirs = theirs
        self._corpus = corpus
        self._seconds = seconds

    async def searches(self, concurrency: int) -> Figures:
        """Return rates and latencies of searches one by one."""
        return await self._compare(self._one_by_one, concurrency)

    async def added_p50_ms(self) -> float:
        """Return what a lone search takes longer than by pymilvus, call and call about."""
        spent: tuple[list[float], list[float]] = ([], [])
        calls = [self._one_by_one(self._ours), self._one_by_one(self._theirs)]
        end = time.perf_counter() + 2 * self._seconds
        number = 0
        while time.perf_counter() < end or number < 5:
            for call, times in zip(calls, spent, strict=True):
                begun = time.perf_counter()
                await call(number)
                times.append(time.perf_counter() - begun)
            number += 1
        ours, theirs = map(median, spent)
        return round((ours - theirs) * 1000, 2)

    async def recalls(self, truth: Neighbours) -> Figures:
        """Return which share of the true nearest the service finds."""
        queries = self._corpus.queries
        figures = {}
        for count in RECALLS:
            if count > truth.shape[1]:
                continue
            found: list[list[int]] = []
            for start in range(0, len(queries), 32):
                found += await self._ours.search(queries[start : start + 32], top_k=count)
            figures[str(count)] = round(recall(found, truth, count), 4)
        return figures

    async def grid(self) -> list[Figures]:
        """Return queries per second by number of queries at once and hits of each."""
        cells = []
        most = len(self._corpus.rows) // 10
        for queries in filter(most.__ge__, _GRID_QUERIES):
            for top_k in filter(most.__ge__, _GRID_TOP_K):
                cell = await self._cell(queries, top_k)
                cells.append({"nq": queries, "top_k": top_k, **cell})
        return cells

    async def _cell(self, queries: int, top_k: int) -> Figures:
        some = self._corpus.queries[:queries]

        def call(caller: Caller) -> Call:
            return lambda _number: caller.search(some, top_k=top_k)

        compared = await self._compare(call, 1, seconds=self._seconds / 4)
        return {
            "service": round(compared["service"]["per_second"] * queries, 1),
            "pymilvus": round(compared["pymilvus"]["per_second"] * queries, 1),
            "ratio": compared["ratio"],
        }

    async def filters(self) -> Figures:
        """Return rates with filters of each selectivity, and with a shared or a hundred filters."""
        figures: Figures = {}
        for percent in SELECTIVITIES:
            condition = f"< {BUCKETS * percent // 100}"

            def selecting(caller: Caller, condition: str = condition) -> Call:
                return self._one_by_one(caller, lambda _number: condition)

            figures[f"{percent} %"] = await self._compare(selecting, 8)

        figures["one shared"] = await self._compare(
            lambda caller: self._one_by_one(caller, lambda _number: "= 7"), 32
        )
        figures["100 distinct"] = await self._compare(
            lambda caller: self._one_by_one(caller, lambda number: f"= {number % BUCKETS}"), 32
        )
        return figures

    async def while_writing(self) -> Figures:
        """Return latencies of our searches, alone and beside a writer that never pauses."""
        call = self._one_by_one(self._ours)
        idle = await closed_loop(call, concurrency=1, seconds=self._seconds)
        writer = asyncio.create_task(self._write_on())
        try:
            busy = await closed_loop(call, concurrency=1, seconds=self._seconds)
        finally:
            writer.cancel()
            await asyncio.wait((writer,))
        if not writer.cancelled():
            writer.result()
        return {
            "idle": idle.as_dict(),
            "writing": busy.as_dict(),
            "p95_ratio": round(busy.p95_ms / idle.p95_ms, 2),
        }

    async def _write_on(self) -> None:
        """Change rows over and over."""
        rows = self._corpus.rows
        run = 0
        while True:
            run += 1
            for start in range(0, len(rows), _WRITTEN_AT_ONCE):
                await self._ours.write(rows[start : start + _WRITTEN_AT_ONCE], start, run=run)

    def _one_by_one(
        self, caller: Caller, condition: Callable[[int], str] = lambda _number: ""
    ) -> Call:
        queries = self._corpus.queries

        async def call(number: int) -> None:
            at = number % len(queries)
            [found] = await caller.search(queries[at : at + 1], buckets=condition(number))
            if not found:
                raise RuntimeError("nothing was found")

        return call

    async def _compare(
        self,
        call: Callable[[Caller], Call],
        concurrency: int,
        *,
        seconds: float | None = None,
    ) -> Figures:
        """Measure ours and theirs in turns; the ratio is of the mean rates."""
        wanted = self._seconds if seconds is None else seconds
        found: Mapping[str, list[Result]] = {"service": [], "pymilvus": []}
        for turn in range(_TURNS):
            order: list[tuple[str, Caller]]
            order = [("service", self._ours), ("pymilvus", self._theirs)]
            for name, caller in order if turn % 2 == 0 else order[::-1]:
                found[name].append(
                    await closed_loop(
                        call(caller),
                        concurrency=concurrency,
                        seconds=wanted / _TURNS,
                        warm_up=wanted / 8,
                    )
                )
        figures: Figures = {name: _merged(some) for name, some in found.items()}
        ours, theirs = figures["service"], figures["pymilvus"]
        figures["ratio"] = round(ours["per_second"] / theirs["per_second"], 3)
        return figures


async def hybrid(service: Service, corpus: Corpus, words: Words, seconds: float) -> Figures:
    """Return rates of queries by vector, by keyword, and by both, fused."""

    def vector(number: int) -> Query:
        return vector_query(corpus.queries[number % len(corpus.queries)])

    def keyword(number: int) -> Query:
        return Query(keyword=words[number % len(words)])

    kinds: Mapping[str, Callable[[int], list[Query]]] = {
        "vector": lambda number: [vector(number)],
        "keyword": lambda number: [keyword(number)],
        "hybrid": lambda number: [vector(number), keyword(number)],
    }
    figures = {}
    for name, queries in kinds.items():

        async def call(number: int, queries: Callable[[int], list[Query]] = queries) -> None:
            await service.fuse(queries(number))

        result = await closed_loop(call, concurrency=8, seconds=seconds, warm_up=seconds / 4)
        figures[name] = result.as_dict()
    return figures


def _merged(results: Sequence[Result]) -> dict[str, float]:
    """Return one result of several turns: means, and the worst of the rare latencies."""
    return Result(
        per_second=mean(each.per_second for each in results),
        p50_ms=mean(each.p50_ms for each in results),
        p95_ms=mean(each.p95_ms for each in results),
        p99_ms=max(each.p99_ms for each in results),
    ).as_dict()
