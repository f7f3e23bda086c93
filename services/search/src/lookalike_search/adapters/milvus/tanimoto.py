"""The nearest by Tanimoto where Milvus can only rank by cosine: exactly those, provably.

With a and b bits set and x of them in both, the cosine is c = x / root(a·b) and the Tanimoto
coefficient t = x / (a + b - x). Since a + b is at least s·root(a·b), where s is 2 or more, t is at
most c / (s - c). So once the hits by cosine reach down to a c for which even that is less than the
k-th best coefficient among them, nothing further away belongs to the best k, nor is equal to them.

The window of hits by cosine grows until that is so; for molecules a quarter more nearly always do.
Where the largest window does not, the vectors are taken apart by the number of their bits: of fewer
different numbers the bound is tighter, and among vectors with the same number both rankings are the
same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from lookalike_search.adapters.milvus.searches import Answer, Counts
from lookalike_search.model import Bits, Neighbor

_MARGIN: Final = 16
_GROWTH: Final = 2
_ROUNDING: Final = 1e-5
"""Error of a float32 cosine, generously."""


class Look(Protocol):
    """How hits by cosine are found."""

    async def __call__(self, window: int, counts: Counts | None) -> Answer:
        """Return the `window` nearest by cosine, of all or of those with so many bits."""


async def nearest(look: Look, query: Bits, *, limit: int, most: int) -> list[Neighbor]:
    """Return the `limit` nearest by Tanimoto, by falling score and then by id.

    Of equal ones beyond the largest window, `most`, any may be returned, as by any other metric.
    """
    search = _Search(look=look, count=query.count, limit=limit, most=most)
    everything = Counts(1, query.size)
    if not await search.settle(None, everything):
        for half in everything.halves(search.count):
            await search.split(half)
    return search.best


@dataclass(slots=True, kw_only=True)
class _Search:
    look: Look
    count: int
    """Bits of the query."""
    limit: int
    most: int
    best: list[Neighbor] = field(default_factory=list)

    async def settle(self, counts: Counts | None, covered: Counts) -> bool:
        """Look until nothing further away can be among the best; False if that cannot be had."""
        window = min(self.most, self.limit + self.limit // 4 + _MARGIN)
        while True:
            answer = await self.look(window, counts)
            self._add(answer.neighbors)
            if len(answer.neighbors) < window:
                return True
            if self._is_decided(answer.reach + _ROUNDING, covered):
                return True
            if window == self.most:
                return False
            window = min(self.most, window * _GROWTH)

    async def split(self, counts: Counts) -> None:
        """Settle a range of numbers of bits, part by part where the whole is too much."""
        if self._is_decided(1.0, counts):
            return
        if await self.settle(counts, counts) or counts.low == counts.high:
            return
        for half in counts.halves(self.count):
            await self.split(half)

    def _add(self, neighbors: Iterable[Neighbor]) -> None:
        found = {each.record.id: each for each in (*self.best, *neighbors)}
        ranked = sorted(found.values(), key=lambda each: (-each.score, each.record.id))
        self.best = ranked[: self.limit]

    def _is_decided(self, cosine: float, counts: Counts) -> bool:
        """Whether vectors with such cosines and numbers of bits are all worse than the best."""
        if len(self.best) < self.limit:
            return False
        return self.best[-1].score > _most_similar(cosine, self.count, counts)


def _most_similar(cosine: float, count: int, counts: Counts) -> float:
    """Return what a Tanimoto coefficient is at most, with such a cosine."""
    nearest_count = min(max(count, counts.low), counts.high)
    ratio = math.sqrt(nearest_count / count)
    cosine = min(1.0, max(0.0, cosine))
    return min(
        cosine / (ratio + 1.0 / ratio - cosine),
        min(count, nearest_count) / max(count, nearest_count),
    )
