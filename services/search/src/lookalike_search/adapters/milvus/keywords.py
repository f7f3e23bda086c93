r"""Keyword queries: Milvus tells words apart and scores them by BM25.

Lite has three ways of its own. Its scores are negative. It knows how rare a word is within one
segment only, so a row that was just written is scored by the few that were written with it, until
segments are merged. And words are told apart by `\w+` and lower case alone: accents count, endings
count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_search.adapters.milvus.coalescing import Coalescer
from lookalike_search.adapters.milvus.schema import keyword_column
from lookalike_search.adapters.milvus.searches import (
    Read,
    most_together,
    read_answers,
    search_request,
)
from lookalike_search.adapters.milvus.vector_columns import VectorColumn
from lookalike_search.model import Neighbor, Projection
from lookalike_search.store import Freshness

_WORD: Final = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Words:
    """What is looked up."""

    text: str

    @property
    def nbytes(self) -> int:
        """What it adds to a request."""
        return len(self.text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A keyword query without its words; those that are equal can go together."""

    tenant: str
    storage: str
    attribute: str
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
    """Runs keyword queries, alike ones in one request."""

    def __init__(self, read: Read, patient: Callable[[], bool]) -> None:
        self._read = read
        self._coalescer = Coalescer(
            self._run, parallel=1, most=lambda lookup: lookup.most_together, patient=patient
        )

    async def search(self, lookup: Lookup, words: str) -> list[Neighbor]:
        """Return the best matches of any of the words; nothing matches none."""
        if not _WORD.search(words):
            return []
        return await self._coalescer.search(lookup, Words(words))

    async def close(self) -> None:
        """Cancel what runs."""
        await self._coalescer.close()

    async def _run(self, lookup: Lookup, words: Sequence[Words]) -> list[list[Neighbor]]:
        request = _request(lookup, words)
        answer = await self._read(lookup.tenant, lookup.storage, "Search", request)
        scores = answer.results.scores
        return await read_answers(
            lookup, answer.results, lambda _, hits: [(abs(each), None) for each in scores[hits]]
        )


def _request(lookup: Lookup, words: Sequence[Words]) -> milvus_pb2.SearchRequest:
    placeholder = common_pb2.PlaceholderValue(
        tag="$0", type=common_pb2.VarChar, values=[each.text.encode() for each in words]
    )
    params = {
        "anns_field": keyword_column(lookup.attribute),
        "topk": lookup.limit,
        "metric_type": "BM25",
        "round_decimal": -1,
        "params": {},
    }
    return search_request(lookup, placeholder, params)
