"""`EncoderService.MatchStructure`."""

from __future__ import annotations

import asyncio

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike_common.errors import LimitExceededError
from lookalike_common.status import to_status
from lookalike_encoder.content import Operation, Outcome
from lookalike_encoder.convert.encode import from_priority
from lookalike_encoder.convert.structure import (
    from_query,
    raise_for_query,
    to_items,
    to_match_response,
)
from lookalike_encoder.registry import Registry

MAX_CANDIDATES = 10_000  # as the protos say

_SLICE = 512
"""Candidates that go into the line at once, so that others get their turn between slices."""


class StructureRpc:
    """Compares a structure with molecules."""

    _registry: Registry

    async def MatchStructure(  # noqa: N802 - the name of the rpc
        self, request: pb.MatchStructureRequest, _context: object
    ) -> pb.MatchStructureResponse:
        """Match all candidates, some at a time; refuse at once when the queue is full."""
        encoder = self._registry.ready(request.encoder, operation=Operation.MATCH_STRUCTURE)
        query, priority = from_query(request), from_priority(request.priority)
        allowed = encoder.manifest.limits.max_candidates
        if len(request.candidates) > allowed:
            raise LimitExceededError(f"at most {allowed} are allowed", field="candidates")
        outcomes: list[Outcome] = []
        for start in range(0, len(request.candidates), _SLICE):
            items = to_items(query, request.candidates[start : start + _SLICE])
            answer = await encoder.batcher.encode(items, priority, wait=start > 0)
            raise_for_query(query, answer.outcomes)
            outcomes += answer.outcomes
        return await asyncio.to_thread(to_match_response, encoder.manifest, outcomes, to_status)
