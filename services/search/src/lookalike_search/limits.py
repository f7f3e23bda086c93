"""The limits that `GetServerInfo` publishes; each is enforced where it is defined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lookalike_search.attributes import MAX_ATTRIBUTES_BYTES
from lookalike_search.commands.collections import MAX_FILTERABLE
from lookalike_search.filters import MAX_BYTES, MAX_NESTING, MAX_TERMS
from lookalike_search.interests import MAX_INTERESTS
from lookalike_search.queries import MAX_CANDIDATES, MAX_QUERIES, MAX_WINDOW
from lookalike_search.settings import SearchSettings
from lookalike_search.writing import MAX_ITEM_BYTES, MAX_TEXT_BYTES

_FIXED: Final[Mapping[str, int]] = {
    "max_attributes_bytes": MAX_ATTRIBUTES_BYTES,
    "max_batch_entities": 1000,  # as the protos say
    "max_batch_searches": 256,  # as the protos say
    "max_examples": 256,  # as the protos say
    "max_excluded": 5000,  # as the protos say
    "max_filter_bytes": MAX_BYTES,
    "max_filter_nesting": MAX_NESTING,
    "max_filter_terms": MAX_TERMS,
    "max_filterable_attributes": MAX_FILTERABLE,
    "max_interests": MAX_INTERESTS,
    "max_item_key_bytes": MAX_ITEM_BYTES,
    "max_neighbors": 1000,  # as the protos say
    "max_page_size": 1000,  # as the protos say
    "max_queries": MAX_QUERIES,
    "max_rerank_candidates": MAX_CANDIDATES,
    "max_text_bytes": MAX_TEXT_BYTES,
    "max_top_k": MAX_WINDOW,
    "max_window": MAX_WINDOW,
}


def published(settings: SearchSettings) -> Mapping[str, int]:
    """Return all limits, by name."""
    return {
        **_FIXED,
        "max_encoded_asset_bytes": settings.assets.max_bytes,
        "max_scanned_structures": settings.structures.max_scanned,
    }
