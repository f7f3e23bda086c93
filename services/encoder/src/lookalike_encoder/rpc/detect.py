"""`EncoderService.Detect`."""

from __future__ import annotations

import asyncio

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike_common.errors import LimitExceededError
from lookalike_common.status import to_status
from lookalike_encoder.content import Item, Operation, Outcome
from lookalike_encoder.convert.detect import from_pictures, from_wanted, to_detect_response
from lookalike_encoder.convert.encode import from_priority
from lookalike_encoder.registry import Registry


class DetectRpc:
    """Finds objects in pictures."""

    _registry: Registry

    async def Detect(  # noqa: N802 - the name of the rpc
        self, request: pb.DetectRequest, _context: object
    ) -> pb.DetectResponse:
        """Find the objects of some pictures; refuse at once when the queue is full."""
        encoder = self._registry.ready(
            request.encoder, request.expected_fingerprint, Operation.DETECT
        )
        allowed = encoder.manifest.limits.max_items
        if len(request.contents) > allowed:
            raise LimitExceededError(f"at most {allowed} are allowed", field="contents")
        wanted = from_wanted(request, encoder.manifest, encoder.labels)
        items = await asyncio.to_thread(from_pictures, request, encoder.manifest)
        good = [item for item in items if isinstance(item, Item)]
        priority = from_priority(request.priority)
        answer = await encoder.batcher.encode(good, priority) if good else None
        made = iter(answer.outcomes if answer else ())
        outcomes: list[Outcome] = [next(made) if isinstance(each, Item) else each for each in items]
        timed = answer if request.include_timings else None
        parts = (encoder.manifest, wanted, outcomes, timed, to_status)
        return await asyncio.to_thread(to_detect_response, *parts)
