"""Encode and StreamEncode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoder.v1 import encoder_service_pb2
from lookalike.type.v1 import content_pb2, outcome_pb2, segment_pb2, vector_pb2
from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import Answer, Encoded, Item, Outcome, Priority, Task
from lookalike_encoder.convert.content import from_content
from lookalike_encoder.convert.encoder import ToStatus
from lookalike_encoder.manifest import Manifest
from lookalike_media import Box


def from_priority(priority: encoder_service_pb2.Priority.ValueType) -> Priority:
    """Read who waits."""
    bulk = priority == encoder_service_pb2.PRIORITY_BULK
    return Priority.BULK if bulk else Priority.INTERACTIVE


def from_items(
    request: encoder_service_pb2.EncodeRequest, manifest: Manifest
) -> list[Item | LookalikeError]:
    """Read the items of a request; one that the encoder does not take becomes its error."""
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
        response.timings.extend(to_timings(answer))
        response.batch_size = answer.batch_rows
    return response


def _from_item(
    item: encoder_service_pb2.EncodeItem, task: Task, manifest: Manifest
) -> Item | LookalikeError:
    content = from_content(item.content, manifest)
    if isinstance(content, LookalikeError):
        return content
    return Item(content, tuple(_from_box(box) for box in item.regions), task)


def _from_box(box: segment_pb2.BoundingBox) -> Box:
    return Box(box.x, box.y, box.width, box.height)


def _to_result(
    index: int, outcome: Outcome, readable: bool, to_status: ToStatus
) -> encoder_service_pb2.EncodeResult:
    if isinstance(outcome, Encoded):
        return encoder_service_pb2.EncodeResult(
            item=encoder_service_pb2.EncodedItem(
                vectors=_to_vectors(outcome.vectors, readable),
                truncated=outcome.truncated,
                canonical=outcome.canonical,
            )
        )
    return encoder_service_pb2.EncodeResult(error=to_status(outcome.at(f"items[{index}]")))


def _to_vectors(vectors: NDArray[Any], readable: bool) -> Iterable[vector_pb2.Vector]:
    if vectors.dtype == np.uint8:
        for bits in vectors:
            binary = vector_pb2.BinaryVector(data=bits.tobytes(), dimensions=8 * len(bits))
            yield vector_pb2.Vector(binary=binary)
        return
    for vector in vectors.astype("<f4", copy=False):
        dense = vector_pb2.DenseVector(dimensions=len(vector))
        if readable:
            dense.values.extend(vector.tolist())
        else:
            dense.data = vector.tobytes()
            dense.dtype = vector_pb2.DATA_TYPE_FLOAT32
        yield vector_pb2.Vector(dense=dense)


def to_timings(answer: Answer) -> Iterable[outcome_pb2.Timing]:
    """Write where the time of one request went."""
    for stage, duration in (
        ("queue", answer.timings.queue),
        ("preprocess", answer.timings.preprocess),
        ("inference", answer.timings.inference),
    ):
        timing = outcome_pb2.Timing(stage=stage)
        timing.duration.FromTimedelta(duration)
        yield timing
