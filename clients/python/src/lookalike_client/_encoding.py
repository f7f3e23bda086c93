"""Calls of the encoder: vectors, objects, scores, structures, and which models are loaded."""

from collections.abc import Iterator, Sequence
from typing import Literal

import grpc

from lookalike.encoder.v1 import (
    encoder_admin_service_pb2,
    encoder_admin_service_pb2_grpc,
    encoder_pb2,
    encoder_service_pb2,
    encoder_service_pb2_grpc,
)
from lookalike.type.v1 import content_pb2
from lookalike_client._calls import Caller, pages
from lookalike_client._names import encoder_name

Task = Literal["query", "document"]
Match = Literal["substructure", "superstructure", "exact"]

_TASKS = {"query": content_pb2.TASK_TYPE_QUERY, "document": content_pb2.TASK_TYPE_DOCUMENT}
_MATCHES = {
    "substructure": encoder_service_pb2.STRUCTURE_MATCH_SUBSTRUCTURE,
    "superstructure": encoder_service_pb2.STRUCTURE_MATCH_SUPERSTRUCTURE,
    "exact": encoder_service_pb2.STRUCTURE_MATCH_EXACT,
}


class EncoderCalls:
    """What a client can ask the encoder. Encoders are named by id, with or without `@version`."""

    def __init__(self, call: Caller, channel: grpc.Channel) -> None:
        self._call = call
        self._encoders = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        self._admin = encoder_admin_service_pb2_grpc.EncoderAdminServiceStub(channel)

    def encoders(self) -> Iterator[encoder_pb2.Encoder]:
        """All installed encoders, by name."""

        def page(token: str) -> encoder_service_pb2.ListEncodersResponse:
            request = encoder_service_pb2.ListEncodersRequest(page_token=token)
            return self._call.unary(self._encoders.ListEncoders, request)

        for reply in pages(page):
            yield from reply.encoders

    def encoder(self, encoder: str) -> encoder_pb2.Encoder:
        """One encoder."""
        request = encoder_service_pb2.GetEncoderRequest(name=encoder_name(encoder))
        return self._call.unary(self._encoders.GetEncoder, request)

    def encode(
        self, encoder: str, contents: Sequence[content_pb2.Content], *, task: Task = "document"
    ) -> encoder_service_pb2.EncodeResponse:
        """Vectors of contents; those that failed carry an error in their place in `results`."""
        items = [encoder_service_pb2.EncodeItem(content=content) for content in contents]
        request = encoder_service_pb2.EncodeRequest(
            encoder=encoder_name(encoder), items=items, task_type=_TASKS[task]
        )
        return self._call.unary(self._encoders.Encode, request)

    def detect(
        self,
        encoder: str,
        images: Sequence[bytes],
        *,
        min_score: float | None = None,
        labels: Sequence[str] = (),
    ) -> encoder_service_pb2.DetectResponse:
        """Objects in image files, best first; the encoder's own threshold without `min_score`."""
        request = encoder_service_pb2.DetectRequest(
            encoder=encoder_name(encoder),
            contents=[content_pb2.Content(image=image) for image in images],
            min_score=min_score,
            labels=labels,
        )
        return self._call.unary(self._encoders.Detect, request)

    def rerank(
        self, encoder: str, query: str, documents: Sequence[str]
    ) -> encoder_service_pb2.RerankResponse:
        """Scores of texts against one query, in the order of the texts; higher is closer."""
        request = encoder_service_pb2.RerankRequest(
            encoder=encoder_name(encoder),
            query=content_pb2.Content(text=query),
            documents=[content_pb2.Content(text=document) for document in documents],
        )
        return self._call.unary(self._encoders.Rerank, request)

    def match_structure(
        self, encoder: str, smiles: str, candidates: Sequence[str], *, match: Match
    ) -> encoder_service_pb2.MatchStructureResponse:
        """Which molecules contain a structure, are contained in it, or are the same."""
        request = encoder_service_pb2.MatchStructureRequest(
            encoder=encoder_name(encoder),
            smiles=smiles,
            match=_MATCHES[match],
            candidates=candidates,
        )
        return self._call.unary(self._encoders.MatchStructure, request)

    def load_encoder(self, encoder: str) -> encoder_pb2.Encoder:
        """Load an installed encoder; returns when it is ready."""
        request = encoder_admin_service_pb2.LoadEncoderRequest(name=encoder_name(encoder))
        return self._call.unary(self._admin.LoadEncoder, request)

    def unload_encoder(self, encoder: str) -> encoder_pb2.Encoder:
        """Take an encoder out of memory."""
        request = encoder_admin_service_pb2.UnloadEncoderRequest(name=encoder_name(encoder))
        return self._call.unary(self._admin.UnloadEncoder, request)

    def reload_encoder(self, encoder: str) -> encoder_pb2.Encoder:
        """Load an encoder anew; the old one serves until the new one is ready."""
        request = encoder_admin_service_pb2.ReloadEncoderRequest(name=encoder_name(encoder))
        return self._call.unary(self._admin.ReloadEncoder, request)
