"""Checks what a collection wants indexed for keyword queries. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike_common.errors import InvalidArgumentError, UnsupportedByBackendError
from lookalike_search.model import AttributeSpec, AttributeType
from lookalike_search.store import Capabilities


def check_keyword_indexes(
    text_analyzer: str,
    attributes: Sequence[AttributeSpec],
    capabilities: Capabilities,
    *,
    vector_fields: int,
) -> None:
    """Raise what is wrong, or what the backend lacks, at `collection.…`."""
    wanted = {"collection.text_index": text_analyzer} if text_analyzer else {}
    for index, each in enumerate(attributes):
        at = f"collection.attributes[{index}]"
        if each.full_text:
            if each.type is not AttributeType.STRING:
                raise InvalidArgumentError(
                    f"{each.name} is a {each.type}; words are indexed of strings only",
                    field=f"{at}.full_text",
                )
            wanted[f"{at}.full_text"] = each.analyzer
        elif each.analyzer:
            raise InvalidArgumentError("is for full texts only", field=f"{at}.analyzer")
    for at, analyzer in wanted.items():
        _check_analyzer(analyzer, capabilities, at)
    _check_count(list(wanted), vector_fields, capabilities)


def _check_analyzer(analyzer: str, capabilities: Capabilities, at: str) -> None:
    backend = f"{capabilities.backend} {capabilities.version}"
    if not capabilities.analyzers:
        raise UnsupportedByBackendError(f"{backend} has no keyword queries (BM25)", field=at)
    if analyzer not in capabilities.analyzers:
        known = ", ".join(sorted(capabilities.analyzers))
        field = at if at.endswith(".text_index") else at.removesuffix(".full_text")
        raise UnsupportedByBackendError(
            f"{backend} has no analyzer {analyzer}; it has {known}", field=f"{field}.analyzer"
        )


def _check_count(indexed: Sequence[str], vector_fields: int, capabilities: Capabilities) -> None:
    """An index of words is one more vector field to Milvus."""
    room = capabilities.max_vector_fields - vector_fields
    if len(indexed) > room:
        raise UnsupportedByBackendError(
            f"{capabilities.backend} {capabilities.version} has {capabilities.max_vector_fields} "
            f"vector fields and keyword indexes in a collection at most, {vector_fields} of which "
            f"are vector fields",
            field=indexed[max(0, room)],
        )
