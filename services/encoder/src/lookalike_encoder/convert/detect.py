"""Detect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import segment_pb2
from lookalike_common.errors import InvalidArgumentError, LookalikeError
from lookalike_encoder.content import Answer, Encoded, Item, Operation, Outcome
from lookalike_encoder.convert.content import from_content, placed
from lookalike_encoder.convert.encode import to_timings
from lookalike_encoder.convert.encoder import ToStatus
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.objects import choose_objects

_DEFAULT_OBJECTS = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which objects a caller wants."""

    names: tuple[str, ...]
    """All that the encoder can tell apart."""
    labels: frozenset[int]
    """Places of the wanted ones; none for all."""
    min_score: float
    max_objects: int
    """Of each picture."""


def from_pictures(request: pb.DetectRequest, manifest: Manifest) -> list[Item | LookalikeError]:
    """Read the pictures; one that the encoder does not take becomes its error."""
    contents = [from_content(each, manifest) for each in request.contents]
    return [
        each if isinstance(each, LookalikeError) else Item(each, operation=Operation.DETECT)
        for each in contents
    ]


def from_wanted(request: pb.DetectRequest, manifest: Manifest, names: tuple[str, ...]) -> Wanted:
    """Read which objects are wanted; raises InvalidArgumentError for an unknown label."""
    places = {name: place for place, name in enumerate(names)}
    for index, label in enumerate(request.labels):
        if label not in places:
            raise InvalidArgumentError(
                f"{label!r} is none of the encoder's labels", field=f"labels[{index}]"
            )
    own = manifest.detection.min_score if manifest.detection else 0.0
    return Wanted(
        names,
        frozenset(places[label] for label in request.labels),
        request.min_score if request.HasField("min_score") else own,
        request.max_objects or _DEFAULT_OBJECTS,
    )


def to_detect_response(
    manifest: Manifest,
    wanted: Wanted,
    outcomes: Sequence[Outcome],
    answer: Answer | None,
    to_status: ToStatus,
) -> pb.DetectResponse:
    """Write the reply, with timings if there is an `answer` to take them from."""
    return pb.DetectResponse(
        encoder=f"encoders/{manifest.versioned_name}",
        fingerprint=manifest.fingerprint,
        results=[
            _to_result(index, outcome, wanted, to_status) for index, outcome in enumerate(outcomes)
        ],
        timings=to_timings(answer) if answer else (),
    )


def _to_result(
    index: int, outcome: Outcome, wanted: Wanted, to_status: ToStatus
) -> pb.DetectResult:
    if not isinstance(outcome, Encoded):
        return pb.DetectResult(error=to_status(placed(outcome, f"contents[{index}]")))
    found = choose_objects(outcome.vectors[0], wanted.min_score, wanted.labels, wanted.max_objects)
    detections = [_to_detection(each, wanted.names) for each in found]
    return pb.DetectResult(
        detections=pb.Detections(width=outcome.width, height=outcome.height, detections=detections)
    )


def _to_detection(found: NDArray[np.float32], names: tuple[str, ...]) -> pb.Detection:
    left, top, right, bottom, score, label = found.tolist()
    return pb.Detection(
        label=names[int(label)],
        score=min(1.0, score),
        box=_to_box(left, top, right, bottom),
    )


def _to_box(left: float, top: float, right: float, bottom: float) -> segment_pb2.BoundingBox:
    """Round outwards to whole pixels, of which there is at least one each way."""
    x, y = math.floor(left), math.floor(top)
    return segment_pb2.BoundingBox(
        x=x, y=y, width=math.ceil(right) - x, height=math.ceil(bottom) - y
    )
