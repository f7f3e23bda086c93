"""`EncoderService.Rerank`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike_common.errors import LimitExceededError
from lookalike_common.status import to_status
from lookalike_encoder.content import Answer, Item, Operation, Priority
from lookalike_encoder.convert.encode import from_priority
from lookalike_encoder.convert.rerank import (
    Scored,
    from_documents,
    from_query,
    query_tokens,
    to_rerank_response,
    to_scores,
)
from lookalike_encoder.registry import ReadyEncoder, Registry

_SLICE = 128
"""Documents at once: 50 MB of vectors, where each has 256 tokens."""


class RerankRpc:
    """Scores documents by the vectors of their tokens."""

    _registry: Registry

    async def Rerank(  # noqa: N802 - the name of the rpc
        self, request: pb.RerankRequest, _context: object
    ) -> pb.RerankResponse:
        """Score all documents, some at a time; refuse at once when the queue is full."""
        encoder = self._registry.ready(
            request.encoder, request.expected_fingerprint, Operation.RERANK
        )
        allowed = encoder.manifest.limits.max_items
        if len(request.documents) > allowed:
            raise LimitExceededError(f"at most {allowed} are allowed", field="documents")
        query = from_query(request, encoder.manifest)
        documents = from_documents(request, encoder.manifest)
        good = [each for each in documents if isinstance(each, Item)]
        scored, answer = await _score(encoder, query, good, from_priority(request.priority))
        made = iter(scored)
        results = [next(made) if isinstance(each, Item) else each for each in documents]
        timed = answer if request.include_timings else None
        return to_rerank_response(encoder.manifest, results, timed, to_status)


async def _score(
    encoder: ReadyEncoder, query: Item, documents: list[Item], priority: Priority
) -> tuple[list[Scored], Answer]:
    """Encode the query with the first documents, and keep no vectors longer than needed."""
    answer = await encoder.batcher.encode([query, *documents[:_SLICE]], priority)
    tokens = query_tokens(answer.outcomes[0])
    scored = await asyncio.to_thread(to_scores, tokens, answer.outcomes[1:])
    for start in range(_SLICE, len(documents), _SLICE):
        part = documents[start : start + _SLICE]
        last = await encoder.batcher.encode(part, priority, wait=True)
        scored += await asyncio.to_thread(to_scores, tokens, last.outcomes)
        answer = _sum(answer, last)
    return scored, answer


def _sum(first: Answer, second: Answer) -> Answer:
    """Add up where the time went."""
    a, b = first.timings, second.timings
    timings = replace(
        a,
        queue=a.queue + b.queue,
        preprocess=a.preprocess + b.preprocess,
        inference=a.inference + b.inference,
    )
    return replace(second, timings=timings)
