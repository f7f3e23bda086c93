"""Tells a label by the votes of neighbours, or that there is none. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_search.attributes import canonical_json
from lookalike_search.fusion import Hit
from lookalike_search.model import JsonValue


@dataclass(frozen=True, slots=True)
class Candidate:
    """One label that neighbours have."""

    label: JsonValue
    confidence: float
    """Its share of all votes, from 0 to 1."""
    count: int
    """Neighbours that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What the neighbours said."""

    candidates: tuple[Candidate, ...] = ()
    """Best first; of equal ones, the one with the closest neighbour."""
    matched: bool = False
    """Whether the first candidate is sure enough to be the answer."""
    supporters: tuple[Hit, ...] = ()
    """Neighbours that voted, best first."""
    best_score: float | None = None

    @property
    def confidence(self) -> float:
        """The first candidate's."""
        return self.candidates[0].confidence if self.candidates else 0.0

    @property
    def margin(self) -> float:
        """The first candidate's lead over the second."""
        second = self.candidates[1].confidence if len(self.candidates) > 1 else 0.0
        return self.confidence - second


def count_votes(neighbors: Sequence[Hit], attribute: str) -> tuple[Candidate, ...]:
    """Return the labels, each neighbour voting with its score, which is above 0; best first."""
    total = sum(each.score for each in neighbors)
    votes: dict[bytes, list[Hit]] = {}
    for each in neighbors:
        votes.setdefault(canonical_json(each.record.attributes[attribute]), []).append(each)
    candidates = [
        Candidate(
            label=some[0].record.attributes[attribute],
            confidence=sum(each.score for each in some) / total,
            count=len(some),
        )
        for some in votes.values()
    ]
    # Sorting is stable, and the labels stand in the order of their closest neighbours.
    return tuple(sorted(candidates, key=lambda each: -each.confidence))
