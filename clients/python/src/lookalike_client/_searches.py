"""Calls that find entities, and queries out of what people have at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import grpc

from lookalike.search.v1 import search_service_pb2, search_service_pb2_grpc
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_client._calls import Caller
from lookalike_client._encoding import Match
from lookalike_client._names import collection_name, entity_name

Strategy = Literal["average", "best-score", "interests"]

_MATCHES = {
    "exact": search_service_pb2.StructureQuery.MATCH_EXACT,
    "substructure": search_service_pb2.StructureQuery.MATCH_SUBSTRUCTURE,
    "superstructure": search_service_pb2.StructureQuery.MATCH_SUPERSTRUCTURE,
}
_STRATEGIES = {
    "average": search_service_pb2.RecommendRequest.STRATEGY_AVERAGE,
    "best-score": search_service_pb2.RecommendRequest.STRATEGY_BEST_SCORE,
    "interests": search_service_pb2.RecommendRequest.STRATEGY_INTERESTS,
}


def by_vector(values: Sequence[float], *, field: str = "") -> search_service_pb2.Query:
    """A query by a vector of one's own."""
    dense = vector_pb2.DenseVector(values=values)
    return search_service_pb2.Query(vector=vector_pb2.Vector(dense=dense), vector_field=field)


def by_entity(collection: str, entity: str, *, field: str = "") -> search_service_pb2.Query:
    """A query by a stored entity; it is not among the hits."""
    return search_service_pb2.Query(entity=entity_name(collection, entity), vector_field=field)


def by_keyword(words: str, *, attribute: str = "") -> search_service_pb2.Query:
    """A query by words of the entities' text, or of a full-text attribute."""
    return search_service_pb2.Query(keyword=words, attribute=attribute)


def by_structure(smiles: str, match: Match = "exact") -> search_service_pb2.Query:
    """A query by a molecule that the hits are, contain (`substructure`), or are contained in."""
    structure = search_service_pb2.StructureQuery(smiles=smiles, match=_MATCHES[match])
    return search_service_pb2.Query(structure=structure)


def by_content(content: content_pb2.Content, *, field: str = "") -> search_service_pb2.Query:
    """A query by a raw thing, which the server encodes."""
    return search_service_pb2.Query(content=content, vector_field=field)


class SearchCalls:
    """What a client can look for."""

    def __init__(self, call: Caller, channel: grpc.Channel) -> None:
        self._call = call
        self._searches = search_service_pb2_grpc.SearchServiceStub(channel)

    def search(
        self, request: search_service_pb2.SearchRequest
    ) -> search_service_pb2.SearchResponse:
        """Any search that the API has."""
        return self._call.unary(self._searches.Search, request)

    def search_content(
        self,
        collection: str,
        content: content_pb2.Content,
        *,
        top_k: int = 10,
        min_score: float | None = None,
        filter_: str = "",
    ) -> search_service_pb2.SearchResponse:
        """Entities closest to the content, best first."""
        query = search_service_pb2.Query(content=content, min_score=min_score)
        return self.search(
            search_service_pb2.SearchRequest(
                collection=collection_name(collection),
                queries=[query],
                top_k=top_k,
                filter=filter_,
            )
        )

    def search_image(
        self,
        collection: str,
        image: bytes | Path,
        *,
        top_k: int = 10,
        min_score: float | None = None,
        filter_: str = "",
    ) -> search_service_pb2.SearchResponse:
        """Entities closest to an image file, given by its path or its bytes, best first."""
        data = image.read_bytes() if isinstance(image, Path) else image
        content = content_pb2.Content(image=data)
        return self.search_content(
            collection, content, top_k=top_k, min_score=min_score, filter_=filter_
        )

    def search_text(
        self,
        collection: str,
        text: str,
        *,
        top_k: int = 10,
        min_score: float | None = None,
        filter_: str = "",
    ) -> search_service_pb2.SearchResponse:
        """Entities closest in meaning to the text, best first."""
        content = content_pb2.Content(text=text)
        return self.search_content(
            collection, content, top_k=top_k, min_score=min_score, filter_=filter_
        )

    def batch_search(
        self, collection: str, requests: Sequence[search_service_pb2.SearchRequest]
    ) -> search_service_pb2.BatchSearchResponse:
        """Many searches in one call; those that failed carry an error in their place."""
        request = search_service_pb2.BatchSearchRequest(
            collection=collection_name(collection), requests=requests
        )
        return self._call.unary(self._searches.BatchSearch, request)

    def recommend(
        self,
        collection: str,
        like: Sequence[search_service_pb2.Query],
        *,
        unlike: Sequence[search_service_pb2.Query] = (),
        strategy: Strategy = "average",
        exclude: Sequence[str] = (),
        exclude_items: Sequence[str] = (),
        top_k: int = 10,
        filter_: str = "",
    ) -> search_service_pb2.SearchResponse:
        """Entities like the good examples and unlike the bad ones; `exclude` has ids."""
        request = search_service_pb2.RecommendRequest(
            collection=collection_name(collection),
            positive=like,
            negative=unlike,
            strategy=_STRATEGIES[strategy],
            exclude=[entity_name(collection, each) for each in exclude],
            exclude_items=exclude_items,
            top_k=top_k,
            filter=filter_,
        )
        return self._call.unary(self._searches.Recommend, request)

    def classify(
        self, request: search_service_pb2.ClassifyRequest
    ) -> search_service_pb2.ClassifyResponse:
        """The label that the nearest neighbours vote for, or none."""
        return self._call.unary(self._searches.Classify, request)
