"""`lookalike.search.v1.SearchService`."""

from __future__ import annotations

import asyncio
from typing import Final

from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.context import current_context
from lookalike_search.commands.searching import Searching
from lookalike_search.convert.searches import from_search, to_search_response

SERVICE: Final = "lookalike.search.v1.SearchService"

_OFF_LOOP: Final = 200
"""Hits whose conversion would hold up the event loop."""


class SearchServicer:
    """Answers from the search command."""

    def __init__(self, searching: Searching) -> None:
        self._searching = searching

    async def Search(  # noqa: N802 - the name of the rpc
        self, request: pb.SearchRequest, _context: object
    ) -> pb.SearchResponse:
        """Find the entities closest to the queries."""
        result = await self._searching.search(current_context().tenant, from_search(request))
        if len(result.hits) + len(result.groups) > _OFF_LOOP:
            return await asyncio.to_thread(to_search_response, result, request)
        return to_search_response(result, request)
