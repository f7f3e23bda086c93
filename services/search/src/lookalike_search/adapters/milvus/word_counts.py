"""In how many texts words are, which tells what they are worth in a query.

Counting takes the longer the more frequent a word is, so what was counted is remembered: for a
moment, and the longer the more it cost. A number that is a bit old ranks no worse.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_search.adapters.milvus.bm25 import pack_sparse, rarity
from lookalike_search.adapters.milvus.coalescing import Coalescer
from lookalike_search.adapters.milvus.consistency import milvus_consistency
from lookalike_search.adapters.milvus.schema import ID, key_values
from lookalike_search.adapters.milvus.searches import Read
from lookalike_search.concurrency import together
from lookalike_search.store import Freshness

MOST_COUNTED: Final = 16_384
"""Texts with a word that are counted; one that is in more tells hardly anything."""

_WORDS_AT_ONCE: Final = 32
"""Words that are counted in one request: its answer lists the texts that have them."""
_REMEMBERED: Final = timedelta(seconds=2)
_REMEMBERED_PER_TEXT: Final = timedelta(milliseconds=20)
"""A thousand times what it costs Milvus Lite to list one more text."""
_REMEMBERED_MOST: Final = timedelta(minutes=1)
_MAX_REMEMBERED: Final = 100_000
_ALL: Final = ""
"""Stands among the words for all texts."""


class Place(NamedTuple):
    """Where words are counted."""

    tenant: str
    storage: str
    column: str


@dataclass(frozen=True, slots=True)
class Word:
    """A word that is to be counted."""

    text: str

    @property
    def nbytes(self) -> int:
        """What it adds to a request: a number and a weight."""
        return 8


class WordCounts:
    """Counts, and remembers."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[tuple[Place, str], tuple[float, int]] = {}
        self._coalescer = Coalescer(self._count_all, parallel=1, most=lambda _: _WORDS_AT_ONCE)

    async def weigh(self, place: Place, words: Sequence[str]) -> dict[str, float]:
        """Return what each word of a query is worth; one that comes twice, twice that."""
        times = Counter(words)
        found = {each: self._remembered(place, each) for each in (_ALL, *times)}
        missing = [each for each, count in found.items() if count is None]
        found |= zip(missing, await self._count(place, missing), strict=True)
        return {
            word: number * rarity(found[word] or 0, found[_ALL] or 0)
            for word, number in times.items()
        }

    async def close(self) -> None:
        """Cancel what runs."""
        await self._coalescer.close()

    async def _count(self, place: Place, words: Sequence[str]) -> list[int]:
        return await together([self._coalescer.search(place, Word(each)) for each in words])

    def _remembered(self, place: Place, word: str) -> int | None:
        until, count = self._known.get((place, word), (0.0, 0))
        return count if self._clock() < until else None

    async def _count_all(self, place: Place, words: Sequence[Word]) -> list[int]:
        """Count what nobody counted meanwhile, each word once, however many ask for it."""
        distinct = dict.fromkeys(each.text for each in words)
        found = {each: self._remembered(place, each) for each in distinct}
        missing = [each for each, count in found.items() if count is None]
        asked = self._clock()
        if _ALL in missing:
            missing.remove(_ALL)
            found[_ALL] = count = await self._count_texts(place)
            self._remember(place, _ALL, count, asked + _REMEMBERED.total_seconds())
        if missing:
            counts = await self._count_words(place, missing)
            for word, count in zip(missing, counts, strict=True):
                lasts = min(_REMEMBERED + count * _REMEMBERED_PER_TEXT, _REMEMBERED_MOST)
                self._remember(place, word, count, asked + lasts.total_seconds())
                found[word] = count
        return [found[each.text] or 0 for each in words]

    def _remember(self, place: Place, word: str, count: int, until: float) -> None:
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[place, word] = (until, count)

    async def _count_texts(self, place: Place) -> int:
        level, timestamp = milvus_consistency(Freshness())
        request = milvus_pb2.QueryRequest(
            collection_name=place.storage,
            output_fields=["count(*)"],
            consistency_level=level,
            guarantee_timestamp=timestamp,
            use_default_consistency=False,
        )
        answer = await self._read(place.tenant, place.storage, "Query", request)
        return int(answer.fields_data[0].scalars.long_data.data[0])

    async def _count_words(self, place: Place, words: Sequence[str]) -> list[int]:
        """Count by finding all texts with a word; there is no cheaper way to ask."""
        level, timestamp = milvus_consistency(Freshness())
        placeholder = common_pb2.PlaceholderValue(
            tag="$0",
            type=common_pb2.SparseFloatVector,
            values=[pack_sparse({each: 1.0}).data for each in words],
        )
        group = common_pb2.PlaceholderGroup(placeholders=[placeholder])
        params = {
            "anns_field": place.column,
            "topk": MOST_COUNTED,
            "metric_type": "IP",
            "params": {},
        }
        request = milvus_pb2.SearchRequest(
            collection_name=place.storage,
            dsl_type=common_pb2.BoolExprV1,
            placeholder_group=group.SerializeToString(),
            output_fields=[ID],
            search_params=key_values(params),
            nq=len(words),
            consistency_level=level,
            guarantee_timestamp=timestamp,
            use_default_consistency=False,
        )
        answer = await self._read(place.tenant, place.storage, "Search", request)
        return list(answer.results.topks)
