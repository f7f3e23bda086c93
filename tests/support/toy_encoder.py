"""A real EncoderService with vectors that anybody can work out: no models, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import numpy as np

from lookalike.encoder.v1 import (
    encoder_pb2,
    encoder_service_pb2,
    encoder_service_pb2_grpc,
)
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_common.errors import (
    EncoderMismatchError,
    InvalidContentError,
    LookalikeError,
    NotFoundError,
    WrongOperationError,
)
from lookalike_common.server import GrpcServer, Service
from lookalike_common.status import to_status
from lookalike_common.testing import server_settings

DIMENSIONS: Final = 26
TEXT: Final = "encoders/toy-text@1"
IMAGE: Final = "encoders/toy-image@1"
REVERSED: Final = "encoders/toy-reversed@1"
"""Encodes texts as TEXT does, and turns the vectors round."""
MODALITIES: Final = {
    TEXT: content_pb2.MODALITY_TEXT,
    IMAGE: content_pb2.MODALITY_IMAGE,
    REVERSED: content_pb2.MODALITY_TEXT,
}
OPERATIONS: Final = {
    TEXT: [encoder_pb2.Encoder.OPERATION_ENCODE, encoder_pb2.Encoder.OPERATION_RERANK],
    IMAGE: [encoder_pb2.Encoder.OPERATION_ENCODE],
    REVERSED: [encoder_pb2.Encoder.OPERATION_ENCODE],
}
SERVICE: Final = "lookalike.encoder.v1.EncoderService"


def letters(text: str) -> list[float]:
    """Return how often each letter comes, as a vector of length 1."""
    counts = np.zeros(DIMENSIONS, np.float64)
    for letter in text.lower():
        if "a" <= letter <= "z":
            counts[ord(letter) - ord("a")] += 1
    return [float(each) for each in (counts / np.linalg.norm(counts)).astype(np.float32)]


class ToyEncoder(encoder_service_pb2_grpc.EncoderServiceServicer):
    """Encodes texts, and images whose bytes are letters, by their letters."""

    def __init__(self) -> None:
        self.fingerprints = {TEXT: "aa" * 32, IMAGE: "bb" * 32, REVERSED: "dd" * 32}
        """Change one, and the encoder is another one."""
        self.requests: list[encoder_service_pb2.EncodeRequest] = []
        """What was asked, in order."""
        self.reranked: list[encoder_service_pb2.RerankRequest] = []
        """The same of Rerank."""
        self.failure: LookalikeError | None = None
        """What Encode ends with, if it is to fail."""
        self.gate: asyncio.Event | None = None
        """What Encode waits for, if it is to wait."""
        self.most_at_once = self.cancelled = self._at_once = 0
        """Calls of Encode that waited at once, and that were cancelled while they did."""

    def server(self) -> GrpcServer:
        """Return a server that answers with this encoder."""
        add = encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server
        return GrpcServer(
            server_settings(), server_name="encoder", services=[Service(SERVICE, add, self)]
        )

    async def GetEncoder(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.GetEncoderRequest, _context: object
    ) -> encoder_pb2.Encoder:
        """Describe one encoder."""
        name = self._find(request.name)
        return encoder_pb2.Encoder(
            name=name,
            operations=OPERATIONS[name],
            modalities=[MODALITIES[name]],
            dimensions=DIMENSIONS,
            vector_kind=vector_pb2.VECTOR_KIND_DENSE,
            metric=vector_pb2.METRIC_COSINE,
            space="letters@1",
            fingerprint=self.fingerprints[name],
            state=encoder_pb2.Encoder.STATE_READY,
            version="1",
        )

    async def Encode(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.EncodeRequest, _context: object
    ) -> encoder_service_pb2.EncodeResponse:
        """Encode some items."""
        self.requests.append(request)
        await self._wait()
        if self.failure is not None:
            raise self.failure
        name = self._find(request.encoder)
        fingerprint = self.fingerprints[name]
        if request.expected_fingerprint not in {"", fingerprint}:
            raise EncoderMismatchError(
                f"{name} has the fingerprint {fingerprint}; "
                f"the caller expects {request.expected_fingerprint}",
                field="expected_fingerprint",
            )
        return encoder_service_pb2.EncodeResponse(
            results=_encode(
                [each.content for each in request.items], turned_round=name == REVERSED
            ),
            encoder=name,
            fingerprint=fingerprint,
        )

    async def ListEncoders(  # noqa: N802 - the name of the rpc
        self, _request: encoder_service_pb2.ListEncodersRequest, _context: object
    ) -> encoder_service_pb2.ListEncodersResponse:
        """List all encoders."""
        asked = [encoder_service_pb2.GetEncoderRequest(name=name) for name in self.fingerprints]
        return encoder_service_pb2.ListEncodersResponse(
            encoders=[await self.GetEncoder(each, None) for each in asked]
        )

    async def StreamEncode(  # noqa: N802 - the name of the rpc
        self, requests: AsyncIterator[encoder_service_pb2.EncodeRequest], context: object
    ) -> AsyncIterator[encoder_service_pb2.EncodeResponse]:
        """Encode one request after the other."""
        async for request in requests:
            yield await self.Encode(request, context)

    async def Detect(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.DetectRequest, _context: object
    ) -> encoder_service_pb2.DetectResponse:
        """Refuse: it knows letters only."""
        raise self._cannot(request.encoder)

    async def Rerank(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.RerankRequest, _context: object
    ) -> encoder_service_pb2.RerankResponse:
        """Score texts by the share of their words that the query has."""
        self.reranked.append(request)
        name = self._find(request.encoder)
        if encoder_pb2.Encoder.OPERATION_RERANK not in OPERATIONS[name]:
            raise self._cannot(request.encoder)
        query = set(request.query.text.split())
        return encoder_service_pb2.RerankResponse(
            results=[_rerank(query, each.text) for each in request.documents],
            encoder=name,
            fingerprint=self.fingerprints[name],
        )

    async def MatchStructure(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.MatchStructureRequest, _context: object
    ) -> encoder_service_pb2.MatchStructureResponse:
        """Refuse: it knows letters only."""
        raise self._cannot(request.encoder)

    async def _wait(self) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._at_once -= 1

    def _cannot(self, name: str) -> WrongOperationError:
        return WrongOperationError(f"{self._find(name)} only encodes", field="encoder")

    def _find(self, name: str) -> str:
        full = name if "@" in name else f"{name}@1"
        if full not in self.fingerprints:
            raise NotFoundError(
                "no such encoder", resource_type="lookalike/Encoder", resource_name=name
            )
        return full


def _rerank(query: set[str], text: str) -> encoder_service_pb2.RerankResult:
    if "illegible" in text:
        error = InvalidContentError("cannot be read", field="documents")
        return encoder_service_pb2.RerankResult(error=to_status(error))
    words = text.split()
    score = sum(each in query for each in words) / len(words)
    return encoder_service_pb2.RerankResult(
        document=encoder_service_pb2.RerankedDocument(score=score)
    )


def _encode(
    contents: Sequence[content_pb2.Content], *, turned_round: bool
) -> list[encoder_service_pb2.EncodeResult]:
    results = []
    for index, content in enumerate(contents):
        text = content.text or content.image.decode(errors="replace")
        if not any("a" <= letter <= "z" for letter in text.lower()):
            error = InvalidContentError("has no letters", field=f"items[{index}].content")
            results.append(encoder_service_pb2.EncodeResult(error=to_status(error)))
            continue
        values = letters(text)
        data = np.array(values[::-1] if turned_round else values, "<f4").tobytes()
        vector = vector_pb2.Vector(
            dense=vector_pb2.DenseVector(
                data=data, dtype=vector_pb2.DATA_TYPE_FLOAT32, dimensions=DIMENSIONS
            )
        )
        item = encoder_service_pb2.EncodedItem(vectors=[vector])
        results.append(encoder_service_pb2.EncodeResult(item=item))
    return results
