"""What a search asks for and what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from lookalike_common.errors import InvalidArgumentError
from lookalike_search.encoding import Content, Relation
from lookalike_search.fusion import Fusion, Hit
from lookalike_search.grouping import GroupBy, HitGroup
from lookalike_search.model import Consistency, Vector
from lookalike_search.store import Freshness

DEFAULT_TOP_K: Final = 10
MAX_WINDOW: Final = 10_000
"""offset + top_k, at most."""
MAX_QUERIES: Final = 16
MAX_CANDIDATES: Final = 1000
"""Hits that a reranker looks at, at most."""
CANDIDATES_PER_HIT: Final = 5
"""How many for each hit of a page, unless the caller says so."""
_TOKEN: Final = re.compile(r"v1\.([0-9a-f]{1,16})")


@dataclass(frozen=True, slots=True)
class EntityRef:
    """A stored entity, as an example of what is looked for."""

    collection_id: str
    entity_id: str


@dataclass(frozen=True, slots=True)
class Keywords:
    """Words to look up: entities with any of them match, with more and rarer ones better."""

    words: str
    attribute: str = ""
    """The full-text attribute to look in; empty for the entities' text."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A molecule, and how it must relate to the matches."""

    smiles: str
    relation: Relation
    attribute: str = ""
    """The attribute that holds the entities' SMILES; empty for their text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One thing to look for."""

    source: Content | Vector | EntityRef | Keywords | Structure
    vector_field: str = ""
    """May be empty where there is only one."""
    weight: float = 1.0
    min_score: float | None = None
    max_score: float | None = None
    encoder: str = ""
    """Encodes the content instead of the field's own; must have the same space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """A second, more exact look at the best hits."""

    encoder: str
    attribute: str = ""
    """The attribute to read; empty for the entities' text."""
    candidates: int
    """Hits to look at; the result has no more."""
    min_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOrder:
    """One search."""

    collection_id: str
    queries: tuple[Query, ...]
    fusion: Fusion = Fusion.RRF
    filter_text: str = ""
    top_k: int = DEFAULT_TOP_K
    offset: int = 0
    page_token: str = ""
    digest: bytes = b""
    """Of everything in the request but the page token, which is bound to it."""
    group_by: GroupBy | None = None
    output_fields: tuple[str, ...] = ()
    include_vectors: bool = False
    consistency: Consistency = Consistency.BOUNDED
    consistency_token: str = ""
    params: Mapping[str, float] = field(default_factory=dict)
    rerank: Rerank | None = None


class Strategy(StrEnum):
    """How several examples become one list of recommendations."""

    AVERAGE = "average"
    """Search once, near the mean of the good ones and away from that of the bad ones."""
    BEST_SCORE = "best_score"
    """By the closest good one, without what is at least as close to a bad one."""
    INTERESTS = "interests"
    """Sort the good ones into interests, and take turns among these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendOrder:
    """Examples to find more like."""

    search: SearchOrder
    """Everything else; its only query bounds the scores."""
    positive: tuple[Query, ...]
    negative: tuple[Query, ...] = ()
    strategy: Strategy = Strategy.AVERAGE
    interests: int | None = None
    """At most; None for as many as suits the examples."""
    include_examples: bool = False
    excluded_ids: frozenset[str] = frozenset()
    excluded_items: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOrder:
    """Something to tell the label of."""

    search: SearchOrder
    """Finds the neighbours that vote."""
    label: str
    """The attribute that holds it."""
    min_confidence: float = 0.0
    min_margin: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What was found: hits or groups, best first."""

    hits: tuple[Hit, ...] = ()
    groups: tuple[HitGroup, ...] = ()
    offset: int = 0
    """Hits, or groups, before the first one."""
    next_page_token: str = ""
    abstained: bool = False
    """Something was found, but nothing good enough."""
    best_score: float | None = None
    truncated: bool = False
    """There may be more than could be looked at."""
    timings: tuple[tuple[str, timedelta], ...] = ()


def format_consistency_token(position: int) -> str:
    """Return the token for a write's position."""
    return f"v1.{position:x}"


def parse_freshness(consistency: Consistency, token: str) -> Freshness:
    """Return what a read must see; raises `InvalidArgumentError` at `consistency_token`."""
    if not token:
        return Freshness(consistency=consistency)
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidArgumentError("is none that UpsertEntities gave", field="consistency_token")
    return Freshness(consistency=consistency, position=int(match[1], 16))
