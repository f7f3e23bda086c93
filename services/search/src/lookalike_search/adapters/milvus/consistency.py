"""How fresh a read must be, in Milvus's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pymilvus.grpc_gen import common_pb2

from lookalike_search.model import Consistency
from lookalike_search.store import Freshness

_LEVELS: Final[Mapping[Consistency, tuple[int, int]]] = {
    Consistency.STRONG: (common_pb2.Strong, 0),
    Consistency.BOUNDED: (common_pb2.Bounded, 2),
    Consistency.EVENTUAL: (common_pb2.Eventually, 1),
}


def milvus_consistency(freshness: Freshness) -> tuple[int, int]:
    """Return the level, and the timestamp that a read must have seen or that stands for it."""
    if freshness.position:
        return common_pb2.Customized, freshness.position
    return _LEVELS[freshness.consistency]
