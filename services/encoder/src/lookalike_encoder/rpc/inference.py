"""`inference.GRPCInferenceService`: the Open Inference Protocol over the same batchers."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Callable

from lookalike_common.errors import LookalikeError
from lookalike_common.status import to_status
from lookalike_encoder.content import Item, Operation
from lookalike_encoder.convert.inference import (
    from_infer_request,
    from_options,
    model_name,
    to_infer_response,
    to_metadata,
    to_stream_error,
)
from lookalike_encoder.inference_protocol import inference_service_pb2 as pb
from lookalike_encoder.inference_protocol.inference_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
)
from lookalike_encoder.pipelining import pipelined
from lookalike_encoder.registry import Registry, State

INFERENCE_SERVICE = "inference.GRPCInferenceService"

_OFF_LOOP_BYTES = 256 << 10


class InferenceServicer(GRPCInferenceServiceServicer):
    """Answers clients of other servers of models."""

    def __init__(
        self, registry: Registry, *, stream_depth: int, is_ready: Callable[[], bool]
    ) -> None:
        self._registry = registry
        self._stream_depth = stream_depth
        self._is_ready = is_ready

    async def ServerLive(  # noqa: N802 - the name of the rpc
        self, _request: pb.ServerLiveRequest, _context: object
    ) -> pb.ServerLiveResponse:
        """Say that the process lives."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802 - the name of the rpc
        self, _request: pb.ServerReadyRequest, _context: object
    ) -> pb.ServerReadyResponse:
        """Say what the health service says."""
        return pb.ServerReadyResponse(ready=self._is_ready())

    async def ModelReady(  # noqa: N802 - the name of the rpc
        self, request: pb.ModelReadyRequest, _context: object
    ) -> pb.ModelReadyResponse:
        """Say whether one encoder is ready."""
        slot = self._registry.find(model_name(request.name, request.version))
        return pb.ModelReadyResponse(ready=slot.state is State.READY)

    async def ServerMetadata(  # noqa: N802 - the name of the rpc
        self, _request: pb.ServerMetadataRequest, _context: object
    ) -> pb.ServerMetadataResponse:
        """Describe the server."""
        release = importlib.metadata.version("lookalike-encoder")
        return pb.ServerMetadataResponse(name="lookalike-encoder", version=release)

    async def ModelMetadata(  # noqa: N802 - the name of the rpc
        self, request: pb.ModelMetadataRequest, _context: object
    ) -> pb.ModelMetadataResponse:
        """Describe the tensors of one encoder."""
        slot = self._registry.find(model_name(request.name, request.version))
        versions = [
            each.manifest.version
            for each in self._registry.slots()
            if each.manifest.name == slot.manifest.name
        ]
        encodes = Operation.ENCODE in slot.operations
        return to_metadata(slot.manifest, versions, encodes=encodes)

    async def ModelInfer(  # noqa: N802 - the name of the rpc
        self, request: pb.ModelInferRequest, _context: object
    ) -> pb.ModelInferResponse:
        """Encode some items; refuse at once when the queue is full."""
        return await self._infer(request, wait=False)

    async def ModelStreamInfer(  # noqa: N802 - the name of the rpc
        self, requests: AsyncIterator[pb.ModelInferRequest], _context: object
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Encode many; wait while the queue is full, and go on after errors."""

        async def serve(request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
            try:
                reply = await self._infer(request, wait=True)
            except LookalikeError as error:
                return to_stream_error(request, to_status(error).message)
            return pb.ModelStreamInferResponse(infer_response=reply)

        async for response in pipelined(requests, serve, depth=self._stream_depth):
            yield response

    async def _infer(self, request: pb.ModelInferRequest, *, wait: bool) -> pb.ModelInferResponse:
        name = model_name(request.model_name, request.model_version)
        options = from_options(request)
        encoder = self._registry.ready(name, options.expected_fingerprint)

        def read() -> tuple[str, list[Item]]:
            return from_infer_request(request, encoder.manifest, options.task)

        large = request.ByteSize() > _OFF_LOOP_BYTES
        tensor, items = await asyncio.to_thread(read) if large else read()
        answer = await encoder.batcher.encode(items, options.priority, wait=wait)
        return to_infer_response(request, encoder.manifest, tensor, answer.outcomes)
