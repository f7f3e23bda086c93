"""How the answers to several good examples become one list of recommendations. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lookalike_search.closeness import closeness
from lookalike_search.commands.merging import Answer, Merged
from lookalike_search.fusion import Contribution, Hit
from lookalike_search.model import Neighbor, Vector, VectorFieldSpec

_AT_ONCE: Final = 1024
"""Vectors that are compared with all examples in one go."""


@dataclass(frozen=True, slots=True)
class BestScore:
    """By the good example that is closest, without what is at least as close to a bad one.

    An entity beyond all windows is no closer to any example than the windows' last ones, so the
    order is exact down to the closest of those.
    """

    field: VectorFieldSpec
    good: Sequence[Vector]
    bad: Sequence[Vector]

    @property
    def vectors(self) -> frozenset[str]:
        """See `Merger`."""
        return frozenset({self.field.name} if self.bad else ())

    def merge(self, answers: Sequence[Answer]) -> Merged:
        """See `Merger`."""
        hits = _by_entity(answers)
        kept = self._without_bad(sorted(hits, key=lambda hit: (-hit.score, hit.record.id)))
        beyond = max((each.last for each in answers if not each.exhausted), default=None)
        if beyond is None:
            return Merged(kept, len(kept))
        return Merged(kept, sum(each.score > beyond for each in kept))

    def _without_bad(self, hits: list[Hit]) -> list[Hit]:
        if not self.bad:
            return hits
        return [
            hit
            for start in range(0, len(hits), _AT_ONCE)
            for hit in self._better(hits[start : start + _AT_ONCE])
        ]

    def _better(self, hits: Sequence[Hit]) -> Iterator[Hit]:
        vectors = [each.record.vectors[self.field.name] for each in hits]
        scores = closeness(self.field.metric, vectors, [*self.good, *self.bad])
        good, bad = scores[:, : len(self.good)], scores[:, len(self.good) :]
        for hit, better in zip(hits, good.max(axis=1) > bad.max(axis=1), strict=True):
            if better:
                yield hit


@dataclass(frozen=True, slots=True)
class Turns:
    """The best of each answer in turn, an entity where it comes first."""

    vectors: frozenset[str] = frozenset()

    def merge(self, answers: Sequence[Answer]) -> Merged:
        """See `Merger`."""
        lists = [_Turn(query, answer) for query, answer in enumerate(answers)]
        hits: list[Hit] = []
        seen: set[str] = set()
        settled: int | None = None
        while any(each.remains for each in lists):
            for each in lists:
                hit = each.take(seen)
                if not each.settled and settled is None:
                    settled = len(hits)
                if hit is not None:
                    seen.add(hit.record.id)
                    hits.append(hit)
        return Merged(hits, len(hits) if settled is None else settled)


class _Turn:
    """One answer, and how far it has been taken."""

    def __init__(self, query: int, answer: Answer) -> None:
        self._query = query
        self._answer = answer
        self._next = 0
        self.settled = True
        """Whether what was taken last is sure to be in its place."""

    @property
    def remains(self) -> bool:
        """Whether there is something left."""
        return self._next < len(self._answer.neighbors)

    def take(self, seen: set[str]) -> Hit | None:
        """Return the best that is left and was not seen; None when there is nothing left."""
        while self.remains:
            neighbor = self._answer.neighbors[self._next]
            self._next += 1
            if neighbor.score <= self._answer.last:
                self.settled &= self._answer.exhausted
            if neighbor.record.id not in seen:
                return _hit(neighbor, [Contribution(self._query, neighbor.score, self._next)])
        self.settled &= self._answer.exhausted
        return None


def _by_entity(answers: Sequence[Answer]) -> list[Hit]:
    """Return each entity once, with its best score and what each answer says about it."""
    best: dict[str, Neighbor] = {}
    said: dict[str, list[Contribution]] = {}
    for query, answer in enumerate(answers):
        for rank, each in enumerate(answer.neighbors, start=1):
            key = each.record.id
            said.setdefault(key, []).append(Contribution(query, each.score, rank))
            if key not in best or each.score > best[key].score:
                best[key] = each
    return [_hit(neighbor, said[key]) for key, neighbor in best.items()]


def _hit(neighbor: Neighbor, said: Sequence[Contribution]) -> Hit:
    return Hit(
        record=neighbor.record,
        score=neighbor.score,
        distance=neighbor.distance,
        contributions=tuple(said),
    )
