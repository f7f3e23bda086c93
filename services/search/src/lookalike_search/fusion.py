"""Makes one list of the answers to several queries. Pure; scores of a fused list are an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lookalike_search.model import EntityRecord, Neighbor

RRF_K: Final = 60


class Fusion(StrEnum):
    """How the answers become one list."""

    RRF = "rrf"
    """Sum of weight / (60 + rank)."""
    WEIGHTED = "weighted"
    """Sum of weight times score, each answer's scores stretched to 0..1 first."""
    MAX = "max"
    """Best of weight times score, each answer's scores stretched to 0..1 first."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one query said about one hit."""

    query: int
    score: float
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One entity in a result."""

    record: EntityRecord
    score: float
    distance: float | None
    """None for fused hits."""
    contributions: tuple[Contribution, ...] = ()


def single(answer: Sequence[Neighbor]) -> list[Hit]:
    """Return the answer to an only query as hits."""
    return [
        Hit(
            record=each.record,
            score=each.score,
            distance=each.distance,
            contributions=(Contribution(0, each.score, rank),),
        )
        for rank, each in enumerate(answer, start=1)
    ]


def fuse(
    answers: Sequence[Sequence[Neighbor]], weights: Sequence[float], fusion: Fusion
) -> list[Hit]:
    """Return one list, by falling score and then by id; each answer is sorted, best first."""
    records: dict[str, EntityRecord] = {}
    said: dict[str, list[Contribution]] = {}
    parts: dict[str, list[float]] = {}
    for query, (answer, weight) in enumerate(zip(answers, weights, strict=True)):
        for rank, (each, stretched) in enumerate(
            zip(answer, _stretch(answer), strict=True), start=1
        ):
            key = each.record.id
            records.setdefault(key, each.record)
            said.setdefault(key, []).append(Contribution(query, each.score, rank))
            part = 1.0 / (RRF_K + rank) if fusion is Fusion.RRF else stretched
            parts.setdefault(key, []).append(weight * part)
    combine = max if fusion is Fusion.MAX else sum
    hits = [
        Hit(
            record=record,
            score=combine(parts[key]),
            distance=None,
            contributions=tuple(said[key]),
        )
        for key, record in records.items()
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.record.id))


def _stretch(answer: Sequence[Neighbor]) -> list[float]:
    """Stretch scores to 0..1; all are 1 where they do not differ."""
    if not answer:
        return []
    best, worst = answer[0].score, answer[-1].score
    if best <= worst:
        return [1.0] * len(answer)
    return [(each.score - worst) / (best - worst) for each in answer]
