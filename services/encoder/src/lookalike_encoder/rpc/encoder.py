"""`lookalike.encoder.v1.EncoderService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from lookalike.encoder.v1 import encoder_pb2
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.encoder.v1.encoder_service_pb2_grpc import EncoderServiceServicer
from lookalike_common.errors import InvalidArgumentError, LimitExceededError, LookalikeError
from lookalike_common.paging import decode_page_token, encode_page_token
from lookalike_common.status import to_status
from lookalike_encoder.content import Item, Outcome
from lookalike_encoder.convert.encode import from_items, from_priority, to_response
from lookalike_encoder.convert.encoder import to_encoder
from lookalike_encoder.pipelining import pipelined
from lookalike_encoder.registry import ReadyEncoder, Registry
from lookalike_encoder.rpc.detect import DetectRpc
from lookalike_encoder.rpc.rerank import RerankRpc
from lookalike_encoder.rpc.structure import StructureRpc

SERVICE = "lookalike.encoder.v1.EncoderService"

MAX_ITEMS, MAX_REGIONS = 1024, 256  # as the protos say

_DEFAULT_PAGE = 100
_OFF_LOOP_BYTES = 256 << 10
_OFF_LOOP_ITEMS = 64


class EncoderServicer(DetectRpc, RerankRpc, StructureRpc, EncoderServiceServicer):
    """Answers from the registry and from the batchers of its encoders."""

    def __init__(self, registry: Registry, *, stream_depth: int) -> None:
        self._registry = registry
        self._stream_depth = stream_depth

    async def ListEncoders(  # noqa: N802 - the name of the rpc
        self, request: pb.ListEncodersRequest, _context: object
    ) -> pb.ListEncodersResponse:
        """List what is served here, by name."""
        position = decode_page_token(request.page_token, "encoders")
        first = int(position[0] or 0) if position else 0
        last = first + (request.page_size or _DEFAULT_PAGE)
        slots = self._registry.slots()
        return pb.ListEncodersResponse(
            encoders=[to_encoder(slot, to_status) for slot in slots[first:last]],
            next_page_token=encode_page_token([last], "encoders") if last < len(slots) else "",
        )

    async def GetEncoder(  # noqa: N802 - the name of the rpc
        self, request: pb.GetEncoderRequest, _context: object
    ) -> encoder_pb2.Encoder:
        """Describe one encoder."""
        return to_encoder(self._registry.find(request.name), to_status)

    async def Encode(  # noqa: N802 - the name of the rpc
        self, request: pb.EncodeRequest, _context: object
    ) -> pb.EncodeResponse:
        """Encode some items; refuse at once when the queue is full."""
        return await self._encode(request, wait=False)

    async def StreamEncode(  # noqa: N802 - the name of the rpc
        self, requests: AsyncIterator[pb.EncodeRequest], _context: object
    ) -> AsyncIterator[pb.EncodeResponse]:
        """Encode many; wait while the queue is full."""

        async def serve(request: pb.EncodeRequest) -> pb.EncodeResponse:
            return await self._encode(request, wait=True)

        named = _repeat_name(requests)
        async for response in pipelined(named, serve, depth=self._stream_depth):
            yield response

    async def _encode(self, request: pb.EncodeRequest, *, wait: bool) -> pb.EncodeResponse:
        if not request.encoder:
            raise InvalidArgumentError("is required", field="encoder")
        encoder = self._registry.ready(request.encoder, request.expected_fingerprint)
        allowed = encoder.manifest.limits.max_items
        if len(request.items) > allowed:
            raise LimitExceededError(f"at most {allowed} items are allowed", field="items")
        if request.ByteSize() > _OFF_LOOP_BYTES:
            items = await asyncio.to_thread(from_items, request, encoder.manifest)
        else:
            items = from_items(request, encoder.manifest)
        return await _encode_items(encoder, request, items, wait=wait)


async def _encode_items(
    encoder: ReadyEncoder,
    request: pb.EncodeRequest,
    items: list[Item | LookalikeError],
    *,
    wait: bool,
) -> pb.EncodeResponse:
    """Encode the items that can be, and put the outcomes where they belong."""
    good = [item for item in items if isinstance(item, Item)]
    priority = from_priority(request.priority)
    answer = await encoder.batcher.encode(good, priority, wait=wait) if good else None
    encoded = iter(answer.outcomes if answer else ())
    outcomes: list[Outcome] = [next(encoded) if isinstance(item, Item) else item for item in items]
    parts = (encoder.manifest, request, outcomes, answer, to_status)
    if len(outcomes) > _OFF_LOOP_ITEMS:
        return await asyncio.to_thread(to_response, *parts)
    return to_response(*parts)


async def _repeat_name(
    requests: AsyncIterator[pb.EncodeRequest],
) -> AsyncIterator[pb.EncodeRequest]:
    """Fill in the encoder that the first message of a stream names."""
    name = ""
    async for request in requests:
        request.encoder = name = request.encoder or name
        yield request
