"""How the answers to a search's queries become one list of hits, and how much of it is final. Pure.

An answer comes from a window: the nearest entities up to a limit. What is final in a merged list
is what no entity beyond the windows could come before, whatever its score turns out to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lookalike_search.fusion import Fusion, Hit, fuse, single
from lookalike_search.model import Neighbor


@dataclass(frozen=True, slots=True)
class Window:
    """What was found for one query, up to a limit."""

    neighbors: Sequence[Neighbor]
    """Best first, equal ones by id."""
    exhausted: bool
    """There is nothing beyond it."""
    equals_follow: bool = False
    """What is as good as its last one, and beyond it, comes later by id."""
    truncated: bool = False
    """There may be something beyond it that cannot be looked at."""

    @property
    def last(self) -> float:
        """Score of the last one, and the most of what is beyond."""
        return self.neighbors[-1].score if self.neighbors else 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query found."""

    neighbors: Sequence[Neighbor]
    """Those that count, best first."""
    last: float
    """No entity beyond the window comes before one that scores higher."""
    exhausted: bool
    """No entity beyond the window counts."""


@dataclass(frozen=True, slots=True)
class Merged:
    """One list of hits, best first."""

    hits: list[Hit]
    settled: int
    """So many at its front are final."""


class Merger(Protocol):
    """A way to make one list of several answers."""

    @property
    def vectors(self) -> frozenset[str]:
        """Vector fields of the neighbours that it has to see."""

    def merge(self, answers: Sequence[Answer]) -> Merged:
        """Return one list of all answers, one answer a query."""


@dataclass(frozen=True, slots=True)
class FusionMerger:
    """An only answer as it is; several ones fused."""

    weights: Sequence[float]
    fusion: Fusion
    vectors: frozenset[str] = frozenset()

    def merge(self, answers: Sequence[Answer]) -> Merged:
        """See `Merger`. A fused list counts as final: its scores depend on the windows anyway."""
        if len(answers) > 1:
            hits = fuse([each.neighbors for each in answers], self.weights, self.fusion)
            return Merged(hits, len(hits))
        hits = single(answers[0].neighbors)
        # Entities beyond the window may be as close as its last one, and come before it by id.
        return Merged(hits, sum(each.score > answers[0].last for each in hits))
