"""Between protobuf and the encoder's own types: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from google.rpc import status_pb2

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2
from lookalike.type.v1 import content_pb2, outcome_pb2, segment_pb2, vector_pb2
from lookalike_common.errors import LookalikeError, UnsupportedMediaError
from lookalike_encoder.content import (
    Answer,
    Content,
    Encoded,
    ImageContent,
    Item,
    Outcome,
    Priority,
    RawImageContent,
    Task,
    TextContent,
    Vectors,
)
from lookalike_encoder.encoder import wrong_modality
from lookalike_encoder.manifest import Manifest, Metric, Modality
from lookalike_encoder.registry import Slot, State
from lookalike_media import Box, PixelFormat

ToStatus = Callable[[LookalikeError], status_pb2.Status]

_MODALITIES = {
    Modality.TEXT: content_pb2.MODALITY_TEXT,
    Modality.IMAGE: content_pb2.MODALITY_IMAGE,
}
_METRICS = {Metric.COSINE: vector_pb2.METRIC_COSINE}
_STATES = {
    State.LOADING: encoder_pb2.Encoder.STATE_LOADING,
    State.READY: encoder_pb2.Encoder.STATE_READY,
    State.FAILED: encoder_pb2.Encoder.STATE_FAILED,
}
_PIXEL_FORMATS = {
    content_pb2.RawImage.PIXEL_FORMAT_UNSPECIFIED: PixelFormat.RGB8,
    content_pb2.RawImage.PIXEL_FORMAT_RGB8: PixelFormat.RGB8,
    content_pb2.RawImage.PIXEL_FORMAT_GRAY8: PixelFormat.GRAY8,
}
_NAMES = {
    "audio": "a sound",
    "raw_audio": "a sound",
    "smiles": "a molecule",
    "sequence": "a nucleotide sequence",
}


def to_encoder(slot: Slot, to_status: ToStatus) -> encoder_pb2.Encoder:
    """Describe one encoder."""
    manifest = slot.manifest
    return encoder_pb2.Encoder(
        name=f"encoders/{manifest.versioned_name}",
        version=manifest.version,
        description=manifest.description,
        operations=[encoder_pb2.Encoder.OPERATION_ENCODE],
        modalities=[_MODALITIES[manifest.modality]],
        dimensions=manifest.dimensions,
        vector_kind=vector_pb2.VECTOR_KIND_DENSE,
        metric=_METRICS[manifest.metric],
        space=manifest.space,
        fingerprint=manifest.fingerprint,
        license=manifest.license,
        limits=encoder_pb2.Encoder.Limits(
            max_items=manifest.limits.max_items,
            preferred_items=manifest.limits.preferred_items,
            max_bytes=manifest.limits.max_bytes,
            max_tokens=manifest.limits.max_tokens,
            max_pixels=manifest.limits.max_pixels,
        ),
        state=_STATES[slot.state],
        device=slot.device,
        error=to_status(slot.error) if slot.error else None,
    )


def from_priority(priority: encoder_service_pb2.Priority.ValueType) -> Priority:
    """Read who waits."""
    bulk = priority == encoder_service_pb2.PRIORITY_BULK
    return Priority.BULK if bulk else Priority.INTERACTIVE


def from_items(
    request: encoder_service_pb2.EncodeRequest, manifest: Manifest
) -> list[Item | LookalikeError]:
    """Read the items of a request; one that no encoder of this kind takes becomes its error."""
    query = request.task_type == content_pb2.TASK_TYPE_QUERY
    task = Task.QUERY if query else Task.DOCUMENT
    return [_from_item(item, task, manifest) for item in request.items]


def to_response(
    manifest: Manifest,
    request: encoder_service_pb2.EncodeRequest,
    outcomes: Sequence[Outcome],
    answer: Answer | None,
    to_status: ToStatus,
) -> encoder_service_pb2.EncodeResponse:
    """Write the reply; `answer` is None where no item came as far as the model."""
    readable = request.vector_format == vector_pb2.VECTOR_FORMAT_VALUES
    response = encoder_service_pb2.EncodeResponse(
        encoder=f"encoders/{manifest.versioned_name}",
        fingerprint=manifest.fingerprint,
        results=[
            _to_result(index, outcome, readable, to_status)
            for index, outcome in enumerate(outcomes)
        ],
    )
    if request.include_timings and answer:
        response.timings.extend(_to_timings(answer))
        response.batch_size = answer.batch_rows
    return response


def _from_item(
    item: encoder_service_pb2.EncodeItem, task: Task, manifest: Manifest
) -> Item | LookalikeError:
    content = _from_content(item.content, manifest)
    if isinstance(content, LookalikeError):
        return content
    return Item(content, tuple(_from_box(box) for box in item.regions), task)


def _from_content(content: content_pb2.Content, manifest: Manifest) -> Content | LookalikeError:
    kind = content.WhichOneof("data")
    if kind == "text":
        return TextContent(content.text)
    if kind == "image":
        return ImageContent(content.image)
    if kind == "raw_image":
        raw = content.raw_image
        return RawImageContent(raw.data, raw.width, raw.height, _PIXEL_FORMATS[raw.pixel_format])
    if kind == "asset":
        return UnsupportedMediaError(
            "the encoder reads no stored assets; send the bytes", field="content.asset"
        )
    return wrong_modality(manifest, _NAMES.get(kind or "", "this"))


def _from_box(box: segment_pb2.BoundingBox) -> Box:
    return Box(box.x, box.y, box.width, box.height)


def _to_result(
    index: int, outcome: Outcome, readable: bool, to_status: ToStatus
) -> encoder_service_pb2.EncodeResult:
    if isinstance(outcome, Encoded):
        return encoder_service_pb2.EncodeResult(
            item=encoder_service_pb2.EncodedItem(
                vectors=_to_vectors(outcome.vectors, readable), truncated=outcome.truncated
            )
        )
    return encoder_service_pb2.EncodeResult(error=to_status(outcome.at(f"items[{index}]")))


def _to_vectors(vectors: Vectors, readable: bool) -> Iterable[vector_pb2.Vector]:
    for vector in vectors.astype("<f4", copy=False):
        dense = vector_pb2.DenseVector(dimensions=len(vector))
        if readable:
            dense.values.extend(vector.tolist())
        else:
            dense.data = vector.tobytes()
            dense.dtype = vector_pb2.DATA_TYPE_FLOAT32
        yield vector_pb2.Vector(dense=dense)


def _to_timings(answer: Answer) -> Iterable[outcome_pb2.Timing]:
    for stage, duration in (
        ("queue", answer.timings.queue),
        ("preprocess", answer.timings.preprocess),
        ("inference", answer.timings.inference),
    ):
        timing = outcome_pb2.Timing(stage=stage)
        timing.duration.FromTimedelta(duration)
        yield timing
