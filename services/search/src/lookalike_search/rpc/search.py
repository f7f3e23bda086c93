"""`lookalike.search.v1.SearchService`."""

from __future__ import annotations

import asyncio
from typing import Final

from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.context import current_context
from lookalike_common.validation import RequestValidator
from lookalike_search.commands.batches import BatchSearching
from lookalike_search.commands.classifying import Classifying
from lookalike_search.commands.recommending import Recommending
from lookalike_search.commands.searching import Searching
from lookalike_search.convert.batches import from_batch, to_batch_response
from lookalike_search.convert.entities import collection_id_of
from lookalike_search.convert.recommendations import (
    from_classify,
    from_recommend,
    to_classify_response,
)
from lookalike_search.convert.searches import from_search, to_search_response

SERVICE: Final = "lookalike.search.v1.SearchService"

_OFF_LOOP: Final = 200
"""Hits whose conversion would hold up the event loop."""


class SearchServicer:
    """Answers from the commands that search."""

    def __init__(
        self,
        searching: Searching,
        batches: BatchSearching,
        recommending: Recommending,
        classifying: Classifying,
    ) -> None:
        self._searching = searching
        self._batches = batches
        self._recommending = recommending
        self._classifying = classifying
        self._validator = RequestValidator()

    async def Search(  # noqa: N802 - the name of the rpc
        self, request: pb.SearchRequest, _context: object
    ) -> pb.SearchResponse:
        """Find the entities closest to the queries."""
        result = await self._searching.search(current_context().tenant, from_search(request))
        if len(result.hits) + len(result.groups) > _OFF_LOOP:
            return await asyncio.to_thread(to_search_response, result, request)
        return to_search_response(result, request)

    async def BatchSearch(  # noqa: N802 - the name of the rpc
        self, request: pb.BatchSearchRequest, _context: object
    ) -> pb.BatchSearchResponse:
        """Run many searches in one go."""
        collection_id = collection_id_of(request.collection)
        orders = await asyncio.to_thread(from_batch, request, self._validator)
        results = await self._batches.search(current_context().tenant, collection_id, orders)
        return await asyncio.to_thread(to_batch_response, results, request)

    async def Recommend(  # noqa: N802 - the name of the rpc
        self, request: pb.RecommendRequest, _context: object
    ) -> pb.SearchResponse:
        """Find entities like the good examples and unlike the bad ones."""
        order = from_recommend(request)
        result = await self._recommending.recommend(current_context().tenant, order)
        if len(result.hits) + len(result.groups) > _OFF_LOOP:
            return await asyncio.to_thread(to_search_response, result, request)
        return to_search_response(result, request)

    async def Classify(  # noqa: N802 - the name of the rpc
        self, request: pb.ClassifyRequest, _context: object
    ) -> pb.ClassifyResponse:
        """Tell the label of something by its neighbours."""
        said = await self._classifying.classify(current_context().tenant, from_classify(request))
        return to_classify_response(said, request)
