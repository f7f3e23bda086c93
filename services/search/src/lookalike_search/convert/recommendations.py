"""`Recommend`'s and `Classify`'s messages; both ask by examples and leave the rest to a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.errors import InvalidArgumentError
from lookalike_search.convert.entities import collection_id_of, entity_ids_of
from lookalike_search.convert.searches import (
    CONSISTENCIES,
    digest_of,
    from_group_by,
    from_query,
    put_hit,
)
from lookalike_search.convert.values import put_value
from lookalike_search.queries import (
    DEFAULT_TOP_K,
    ClassifyOrder,
    Query,
    RecommendOrder,
    SearchOrder,
    Strategy,
)
from lookalike_search.voting import Classification

_STRATEGIES: Final[Mapping[int, Strategy]] = {
    pb.RecommendRequest.STRATEGY_UNSPECIFIED: Strategy.AVERAGE,
    pb.RecommendRequest.STRATEGY_AVERAGE: Strategy.AVERAGE,
    pb.RecommendRequest.STRATEGY_BEST_SCORE: Strategy.BEST_SCORE,
    pb.RecommendRequest.STRATEGY_INTERESTS: Strategy.INTERESTS,
}


def from_recommend(request: pb.RecommendRequest) -> RecommendOrder:
    """Return the recommendations that are asked for."""
    collection_id = collection_id_of(request.collection)
    strategy = _STRATEGIES[request.strategy]
    if request.HasField("interests") and strategy is not Strategy.INTERESTS:
        raise InvalidArgumentError("is for STRATEGY_INTERESTS", field="interests")
    positive = _examples(request.positive, "positive")
    return RecommendOrder(
        search=_search(request, positive[0]),
        positive=positive,
        negative=_examples(request.negative, "negative"),
        strategy=strategy,
        interests=request.interests if request.HasField("interests") else None,
        include_examples=request.include_examples,
        excluded_ids=frozenset(entity_ids_of(request.exclude, collection_id, "exclude")),
        excluded_items=frozenset(request.exclude_items),
    )


def from_classify(request: pb.ClassifyRequest) -> ClassifyOrder:
    """Return the thing whose label is asked for."""
    if request.query.HasField("structure"):
        raise InvalidArgumentError(
            "its matches are all alike: give a content, a vector, an entity or keywords",
            field="query.structure",
        )
    return ClassifyOrder(
        search=SearchOrder(
            collection_id=collection_id_of(request.collection),
            queries=(from_query(request.query, "query"),),
            filter_text=request.filter,
            top_k=request.neighbors if request.HasField("neighbors") else DEFAULT_TOP_K,
            output_fields=tuple(request.output_fields),
            consistency=CONSISTENCIES[request.consistency],
            consistency_token=request.consistency_token,
            params=dict(request.params),
        ),
        label=request.label,
        min_confidence=request.min_confidence,
        min_margin=request.min_margin,
    )


def to_classify_response(said: Classification, request: pb.ClassifyRequest) -> pb.ClassifyResponse:
    """Return what the neighbours said."""
    collection_id = collection_id_of(request.collection)
    response = pb.ClassifyResponse(
        confidence=said.confidence, margin=said.margin, best_score=said.best_score
    )
    if said.matched:
        put_value(said.candidates[0].label, response.label)
    for each in said.candidates:
        votes = response.candidates.add(confidence=each.confidence, count=each.count)
        put_value(each.label, votes.label)
    shown = pb.SearchRequest(vector_format=request.vector_format)
    for rank, hit in enumerate(said.supporters, start=1):
        put_hit(hit, rank, collection_id, shown, response.supporters.add())
    return response


def _search(request: pb.RecommendRequest, first: Query) -> SearchOrder:
    bounds = replace(
        first,
        min_score=request.min_score if request.HasField("min_score") else None,
        max_score=request.max_score if request.HasField("max_score") else None,
    )
    return SearchOrder(
        collection_id=collection_id_of(request.collection),
        queries=(bounds,),
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
    )


def _examples(messages: Sequence[pb.Query], name: str) -> tuple[Query, ...]:
    found = []
    for index, each in enumerate(messages):
        at = f"{name}[{index}]"
        _check_has_vector(each, at)
        for bound in ("min_score", "max_score"):
            if each.HasField(bound):
                raise InvalidArgumentError(
                    "is the request's, for all examples", field=f"{at}.{bound}"
                )
        found.append(from_query(each, at))
    return tuple(found)


def _check_has_vector(message: pb.Query, at: str) -> None:
    source = message.WhichOneof("source")
    if source in {"keyword", "structure"}:
        raise InvalidArgumentError(
            f"a {source} has no vector: give a content, a vector or an entity",
            field=f"{at}.{source}",
        )
