"""Keyword queries, alike ones in one request.

Where words are weighed by us (`word_columns`), a query first asks how rare its words are
(`word_counts`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_search.adapters.milvus.bm25 import Packed, pack_sparse, words_of
from lookalike_search.adapters.milvus.coalescing import Coalescer
from lookalike_search.adapters.milvus.searches import (
    Read,
    most_together,
    read_answers,
    search_request,
)
from lookalike_search.adapters.milvus.vector_columns import VectorColumn
from lookalike_search.adapters.milvus.word_columns import WordColumn
from lookalike_search.adapters.milvus.word_counts import Place, WordCounts
from lookalike_search.model import Neighbor, Projection
from lookalike_search.store import Freshness

_WORD: Final = re.compile(r"\w")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A keyword query without its words; those that are equal can go together."""

    tenant: str
    storage: str
    words: WordColumn
    """What is searched."""
    expression: str
    limit: int
    projection: Projection
    freshness: Freshness
    columns: tuple[VectorColumn, ...]
    """How the collection's vectors are stored."""

    @property
    def most_together(self) -> int:
        """How many queries one request may carry."""
        return most_together(self)


class Keywords:
    """Runs keyword queries."""

    def __init__(self, read: Read, patient: Callable[[], bool]) -> None:
        self._read = read
        self._counts = WordCounts(read)
        self._coalescer = Coalescer(
            self._run, parallel=1, most=lambda lookup: lookup.most_together, patient=patient
        )

    async def search(self, lookup: Lookup, words: str) -> list[Neighbor]:
        """Return the best matches of any of the words; nothing matches none."""
        if not _WORD.search(words):
            return []
        if lookup.words.native:
            return await self._coalescer.search(lookup, Packed(words.encode()))
        place = Place(lookup.tenant, lookup.storage, lookup.words.name)
        weights = await self._counts.weigh(place, words_of(words))
        return await self._coalescer.search(lookup, pack_sparse(weights))

    async def close(self) -> None:
        """Cancel what runs."""
        await self._coalescer.close()
        await self._counts.close()

    async def _run(self, lookup: Lookup, questions: Sequence[Packed]) -> list[list[Neighbor]]:
        request = _request(lookup, questions)
        answer = await self._read(lookup.tenant, lookup.storage, "Search", request)
        scores = answer.results.scores
        # Lite's own BM25 is negative.
        return await read_answers(
            lookup, answer.results, lambda _, hits: [(abs(each), None) for each in scores[hits]]
        )


def _request(lookup: Lookup, questions: Sequence[Packed]) -> milvus_pb2.SearchRequest:
    words = lookup.words
    placeholder = common_pb2.PlaceholderValue(
        tag="$0", type=words.placeholder_type, values=[each.data for each in questions]
    )
    params = {
        "anns_field": words.name,
        "topk": lookup.limit,
        "metric_type": words.metric_name,
        "round_decimal": -1,
        "params": {},
    }
    return search_request(lookup, placeholder, params)
