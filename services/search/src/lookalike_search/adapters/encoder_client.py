"""The encoder service over gRPC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import grpc
import grpc.aio
import numpy as np

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2, encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_common.errors import (
    EncoderMismatchError,
    EncoderNotReadyError,
    InternalError,
    LookalikeError,
)
from lookalike_common.status import error_from_rpc, error_from_status
from lookalike_search.encoding import Content, ContentKind, EncoderFacts, Relation
from lookalike_search.model import Bits, Metric, Task, Vector, VectorKind

_FEW: Final = 16
"""Documents that may go with the interactive ones: somebody waits for an answer."""

_METRICS: Final[Mapping[int, Metric]] = {
    vector_pb2.METRIC_COSINE: Metric.COSINE,
    vector_pb2.METRIC_INNER_PRODUCT: Metric.INNER_PRODUCT,
    vector_pb2.METRIC_EUCLIDEAN: Metric.EUCLIDEAN,
    vector_pb2.METRIC_TANIMOTO: Metric.TANIMOTO,
    vector_pb2.METRIC_HAMMING: Metric.HAMMING,
}
_KINDS: Final[Mapping[int, VectorKind]] = {
    vector_pb2.VECTOR_KIND_DENSE: VectorKind.DENSE,
    vector_pb2.VECTOR_KIND_BINARY: VectorKind.BINARY,
    vector_pb2.VECTOR_KIND_SPARSE: VectorKind.SPARSE,
}
_STRINGS: Final[Mapping[int, ContentKind]] = {
    content_pb2.MODALITY_TEXT: ContentKind.TEXT,
    content_pb2.MODALITY_MOLECULE: ContentKind.SMILES,
    content_pb2.MODALITY_SEQUENCE: ContentKind.SEQUENCE,
}
"""Modalities that strings have, the first one that an encoder takes."""
_TASKS: Final[Mapping[Task, content_pb2.TaskType.ValueType]] = {
    Task.QUERY: content_pb2.TASK_TYPE_QUERY,
    Task.DOCUMENT: content_pb2.TASK_TYPE_DOCUMENT,
}

_RELATIONS: Final[Mapping[Relation, encoder_service_pb2.StructureMatch.ValueType]] = {
    Relation.SAME: encoder_service_pb2.STRUCTURE_MATCH_EXACT,
    Relation.CONTAINS: encoder_service_pb2.STRUCTURE_MATCH_SUBSTRUCTURE,
    Relation.IS_CONTAINED: encoder_service_pb2.STRUCTURE_MATCH_SUPERSTRUCTURE,
}


_TAKEN: Final[Mapping[int, tuple[ContentKind, ...]]] = {
    content_pb2.MODALITY_TEXT: (ContentKind.TEXT,),
    content_pb2.MODALITY_IMAGE: (ContentKind.IMAGE, ContentKind.RAW_IMAGE, ContentKind.ASSET),
    content_pb2.MODALITY_AUDIO: (ContentKind.AUDIO, ContentKind.RAW_AUDIO, ContentKind.ASSET),
    content_pb2.MODALITY_MOLECULE: (ContentKind.SMILES,),
    content_pb2.MODALITY_SEQUENCE: (ContentKind.SEQUENCE,),
}
"""By modality, what an encoder takes; an asset is a picture or a sound."""


class EncoderClient:
    """An `EncoderPort` on a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)

    async def describe(self, encoder: str) -> EncoderFacts:
        """See `EncoderPort`."""
        request = encoder_service_pb2.GetEncoderRequest(name=encoder)
        with _translated():
            found: encoder_pb2.Encoder = await self._stub.GetEncoder(request)
        if encoder_pb2.Encoder.OPERATION_ENCODE not in found.operations:
            raise EncoderMismatchError(f"{found.name} makes no vectors", field="encoder")
        if found.metric not in _METRICS:
            raise EncoderNotReadyError(f"{found.name} does not say how to compare its vectors")
        return EncoderFacts(
            name=found.name,
            fingerprint=found.fingerprint,
            dimensions=found.dimensions,
            kind=_KINDS.get(found.vector_kind, VectorKind.DENSE),
            metric=_METRICS[found.metric],
            space=found.space,
            ready=found.state == encoder_pb2.Encoder.STATE_READY,
            source_kind=next(
                (kind for modality, kind in _STRINGS.items() if modality in found.modalities), None
            ),
            takes=frozenset(
                kind for modality in found.modalities for kind in _TAKEN.get(modality, ())
            ),
        )

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content], task: Task
    ) -> list[Vector | LookalikeError]:
        """See `EncoderPort`."""
        urgent = task is Task.QUERY or len(contents) <= _FEW
        request = encoder_service_pb2.EncodeRequest(
            encoder=encoder,
            items=[encoder_service_pb2.EncodeItem(content=_to_content(each)) for each in contents],
            task_type=_TASKS[task],
            priority=(
                encoder_service_pb2.PRIORITY_INTERACTIVE
                if urgent
                else encoder_service_pb2.PRIORITY_BULK
            ),
            expected_fingerprint=fingerprint,
            vector_format=vector_pb2.VECTOR_FORMAT_PACKED,
        )
        with _translated():
            reply: encoder_service_pb2.EncodeResponse = await self._stub.Encode(request)
        if reply.fingerprint != fingerprint:
            raise EncoderMismatchError(
                f"{encoder} has the fingerprint {reply.fingerprint}, the collection is bound to "
                f"{fingerprint}",
                metadata={"expected": fingerprint, "actual": reply.fingerprint},
            )
        if len(reply.results) != len(contents):
            raise InternalError("the encoder answered with another number of results")
        return [_from_result(each) for each in reply.results]

    async def rerank(
        self, encoder: str, query: str, documents: Sequence[str]
    ) -> list[float | LookalikeError]:
        """See `EncoderPort`."""
        request = encoder_service_pb2.RerankRequest(
            encoder=encoder,
            query=content_pb2.Content(text=query),
            documents=[content_pb2.Content(text=each) for each in documents],
            priority=encoder_service_pb2.PRIORITY_INTERACTIVE,
        )
        with _translated():
            reply: encoder_service_pb2.RerankResponse = await self._stub.Rerank(request)
        if len(reply.results) != len(documents):
            raise InternalError("the encoder answered with another number of scores")
        return [_from_score(each) for each in reply.results]

    async def match_structure(
        self, encoder: str, smiles: str, relation: Relation, candidates: Sequence[str]
    ) -> list[bool | LookalikeError]:
        """See `EncoderPort`."""
        request = encoder_service_pb2.MatchStructureRequest(
            encoder=encoder,
            smiles=smiles,
            match=_RELATIONS[relation],
            candidates=candidates,
            priority=encoder_service_pb2.PRIORITY_INTERACTIVE,
        )
        with _translated():
            reply: encoder_service_pb2.MatchStructureResponse = await self._stub.MatchStructure(
                request
            )
        if len(reply.results) != len(candidates):
            raise InternalError("the encoder answered with another number of results")
        return [
            _without_field(error_from_status(each.error))
            if each.HasField("error")
            else each.matched.matches
            for each in reply.results
        ]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise error_from_rpc(error) from error


def _from_result(result: encoder_service_pb2.EncodeResult) -> Vector | LookalikeError:
    if result.HasField("error"):
        return _without_field(error_from_status(result.error))
    vector = result.item.vectors[0] if result.item.vectors else vector_pb2.Vector()
    if vector.HasField("binary"):
        return Bits(vector.binary.data, vector.binary.dimensions or 8 * len(vector.binary.data))
    dense = vector.dense
    if not dense.data or dense.dtype not in {
        vector_pb2.DATA_TYPE_FLOAT32,
        vector_pb2.DATA_TYPE_UNSPECIFIED,
    }:
        return InternalError("the encoder answered with a vector of another form")
    return np.frombuffer(dense.data, "<f4").astype(np.float32)


def _from_score(result: encoder_service_pb2.RerankResult) -> float | LookalikeError:
    if result.HasField("error"):
        return _without_field(error_from_status(result.error))
    return result.document.score


def _without_field(error: LookalikeError) -> LookalikeError:
    """Return the error without the place in a request that our caller never saw."""
    return type(error)(error.message, retry_after=error.retry_after, metadata=dict(error.metadata))


def _to_content(content: Content) -> content_pb2.Content:
    message = content_pb2.Content(media_type=content.media_type)
    match content.kind:
        case ContentKind.IMAGE:
            message.image = content.data
        case ContentKind.AUDIO:
            message.audio = content.data
        case ContentKind.RAW_IMAGE:
            _fill_raw(message.raw_image, content)
        case ContentKind.RAW_AUDIO:
            _fill_raw(message.raw_audio, content)
        case _:
            setattr(message, content.kind.value, content.data.decode())
    return message


def _fill_raw(message: content_pb2.RawImage | content_pb2.RawAudio, content: Content) -> None:
    message.data = content.data
    for name, value in content.shape.items():
        setattr(message, name, value)
