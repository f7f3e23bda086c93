"""`SearchService`'s messages."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Final, TypeAlias

from google.protobuf.duration_pb2 import Duration

from lookalike.search.v1 import search_service_pb2
from lookalike.type.v1 import outcome_pb2
from lookalike_common.errors import InvalidArgumentError
from lookalike_common.ids import parse_name
from lookalike_search.convert.entities import collection_id_of, put_entity
from lookalike_search.convert.values import from_content, put_value
from lookalike_search.convert.vectors import from_vector
from lookalike_search.encoding import Content, Relation
from lookalike_search.fusion import Fusion, Hit
from lookalike_search.grouping import GroupBy
from lookalike_search.model import Consistency, Vector
from lookalike_search.queries import (
    CANDIDATES_PER_HIT,
    DEFAULT_TOP_K,
    MAX_CANDIDATES,
    EntityRef,
    Keywords,
    Query,
    Rerank,
    SearchOrder,
    SearchResult,
    Structure,
)

Shown: TypeAlias = search_service_pb2.SearchRequest | search_service_pb2.RecommendRequest
"""A request that says how hits are shown."""

CONSISTENCIES: Final[Mapping[int, Consistency]] = {
    search_service_pb2.CONSISTENCY_UNSPECIFIED: Consistency.BOUNDED,
    search_service_pb2.CONSISTENCY_STRONG: Consistency.STRONG,
    search_service_pb2.CONSISTENCY_BOUNDED: Consistency.BOUNDED,
    search_service_pb2.CONSISTENCY_EVENTUAL: Consistency.EVENTUAL,
}
_RELATIONS: Final[Mapping[int, Relation]] = {
    search_service_pb2.StructureQuery.MATCH_UNSPECIFIED: Relation.SAME,
    search_service_pb2.StructureQuery.MATCH_EXACT: Relation.SAME,
    search_service_pb2.StructureQuery.MATCH_SUBSTRUCTURE: Relation.CONTAINS,
    search_service_pb2.StructureQuery.MATCH_SUPERSTRUCTURE: Relation.IS_CONTAINED,
}
_FUSIONS: Final[Mapping[int, Fusion]] = {
    search_service_pb2.FUSION_UNSPECIFIED: Fusion.RRF,
    search_service_pb2.FUSION_RRF: Fusion.RRF,
    search_service_pb2.FUSION_WEIGHTED: Fusion.WEIGHTED,
    search_service_pb2.FUSION_MAX: Fusion.MAX,
}


def from_search(request: search_service_pb2.SearchRequest) -> SearchOrder:
    """Return the search that is asked for."""
    return SearchOrder(
        collection_id=collection_id_of(request.collection),
        queries=tuple(
            from_query(each, f"queries[{index}]") for index, each in enumerate(request.queries)
        ),
        fusion=_FUSIONS[request.fusion],
        filter_text=request.filter,
        top_k=request.top_k if request.HasField("top_k") else DEFAULT_TOP_K,
        offset=request.offset,
        page_token=request.page_token,
        digest=digest_of(request),
        group_by=from_group_by(request.group_by) if request.HasField("group_by") else None,
        output_fields=tuple(request.output_fields),
        include_vectors=request.include_vectors,
        consistency=CONSISTENCIES[request.consistency],
        consistency_token=request.consistency_token,
        params=dict(request.params),
        rerank=_from_rerank(request),
    )


def to_search_response(result: SearchResult, request: Shown) -> search_service_pb2.SearchResponse:
    """Return what was found, in the form that was asked for."""
    response = search_service_pb2.SearchResponse(
        next_page_token=result.next_page_token,
        abstained=result.abstained,
        best_score=result.best_score,
        truncated=result.truncated,
    )
    collection_id = collection_id_of(request.collection)
    for rank, hit in enumerate(result.hits, start=result.offset + 1):
        put_hit(hit, rank, collection_id, request, response.hits.add())
    for group in result.groups:
        message = response.groups.add()
        put_value(group.key, message.key)
        for rank, hit in enumerate(group.hits, start=1):
            put_hit(hit, rank, collection_id, request, message.hits.add())
    if request.explain:
        for stage, spent in result.timings:
            duration = Duration()
            duration.FromTimedelta(spent)
            response.timings.append(outcome_pb2.Timing(stage=stage, duration=duration))
    return response


def from_query(message: search_service_pb2.Query, at: str) -> Query:
    """Return one query; errors are at `at`."""
    return Query(
        source=_from_source(message, at),
        vector_field=message.vector_field,
        weight=message.weight if message.HasField("weight") else 1.0,
        min_score=message.min_score if message.HasField("min_score") else None,
        max_score=message.max_score if message.HasField("max_score") else None,
        encoder=message.encoder,
    )


def _from_source(
    message: search_service_pb2.Query, at: str
) -> Content | Vector | EntityRef | Keywords | Structure:
    if message.attribute and message.WhichOneof("source") not in {"keyword", "structure"}:
        raise InvalidArgumentError(
            "only queries by keywords or structure look in it", field=f"{at}.attribute"
        )
    match message.WhichOneof("source"):
        case "content":
            return from_content(message.content, f"{at}.content")
        case "vector":
            return from_vector(message.vector, f"{at}.vector")
        case "entity":
            return EntityRef(
                *parse_name(message.entity, "collections", "entities", field=f"{at}.entity")
            )
        case "keyword":
            return Keywords(message.keyword, message.attribute)
        case "structure":
            wanted = message.structure
            return Structure(wanted.smiles, _RELATIONS[wanted.match], message.attribute)
        case None:
            raise InvalidArgumentError("has nothing to look for", field=at)


def _from_rerank(request: search_service_pb2.SearchRequest) -> Rerank | None:
    if not request.HasField("rerank"):
        return None
    message = request.rerank
    top_k = request.top_k if request.HasField("top_k") else DEFAULT_TOP_K
    usual = min(CANDIDATES_PER_HIT * top_k, MAX_CANDIDATES)
    return Rerank(
        encoder=message.encoder,
        attribute=message.attribute,
        candidates=message.candidates if message.HasField("candidates") else usual,
        min_score=message.min_score if message.HasField("min_score") else None,
    )


def from_group_by(message: search_service_pb2.GroupBy) -> GroupBy:
    """Return how hits are grouped."""
    return GroupBy(field=message.field, size=message.size if message.HasField("size") else 1)


def digest_of(request: Shown) -> bytes:
    """Return a digest of everything that must not change between pages."""
    same = copy.deepcopy(request)
    same.ClearField("page_token")
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + same.SerializeToString(deterministic=True)).digest()


def put_hit(
    hit: Hit,
    rank: int,
    collection_id: str,
    request: Shown,
    into: search_service_pb2.Hit,
) -> None:
    """Fill in one hit."""
    put_entity(hit.record, collection_id, request.vector_format, into.entity)
    into.score = hit.score
    into.rank = rank
    if hit.distance is not None:
        into.distance = hit.distance
    if request.explain:
        for each in hit.contributions:
            into.contributions.add(query=each.query, score=each.score, rank=each.rank)
