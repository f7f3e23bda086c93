"""Detect, on a detector whose answers anybody can work out."""

from __future__ import annotations

from typing import Any, Final

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import Code
from tests.contract.rpc_tables.encoder import IMAGE, bomb
from tests.contract.rpc_tables.rows import (
    Answers,
    Refuses,
    RefusesItem,
    Row,
    invalid,
    mismatch,
    missing,
)
from tests.support.tiny_detector import DETECTOR, as_png, picture

_RPC: Final = "EncoderService.Detect"
Content = content_pb2.Content
_PICTURE: Final = Content(image=as_png(picture((0, 0, "red"), (2, 1, "blue"))))


def detect(*contents: Content, encoder: str = DETECTOR, **fields: Any) -> pb.DetectRequest:
    return pb.DetectRequest(encoder=encoder, contents=contents, **fields)


def found(*expected: list[tuple[str, int, int]]) -> Answers:
    """Expect labels and corners of the objects in each picture, in any order."""

    def check(reply: pb.DetectResponse) -> bool:
        made = [
            sorted((each.label, each.box.x, each.box.y) for each in result.detections.detections)
            for result in reply.results
        ]
        return reply.encoder == DETECTOR and made == list(expected)

    return Answers(check)


ROWS: Final = [
    Row(
        _RPC,
        "two pictures",
        detect(_PICTURE, Content(image=as_png(picture()))),
        found([("blue", 32, 16), ("red", 0, 0)], []),
    ),
    Row(_RPC, "one label", detect(_PICTURE, labels=["blue"]), found([("blue", 32, 16)])),
    Row(
        _RPC,
        "one object, with timings",
        detect(_PICTURE, max_objects=1, include_timings=True),
        Answers(
            lambda reply: len(reply.results[0].detections.detections) == 1 and len(reply.timings)
        ),
    ),
    Row(
        _RPC,
        "the size of the picture",
        detect(_PICTURE),
        Answers(
            lambda reply: (
                (reply.results[0].detections.width, reply.results[0].detections.height) == (64, 64)
            )
        ),
    ),
    Row(_RPC, "no pictures", detect(), invalid("contents")),
    Row(_RPC, "too many pictures", detect(*[_PICTURE] * 257), invalid("contents")),
    Row(
        _RPC,
        "more pictures than it takes",
        detect(*[_PICTURE] * 65),
        invalid("contents", "LIMIT_EXCEEDED"),
    ),
    Row(_RPC, "an unknown label", detect(_PICTURE, labels=["green", "x"]), invalid("labels[1]")),
    Row(_RPC, "a score above 1", detect(_PICTURE, min_score=1.5), invalid("min_score")),
    Row(_RPC, "too many objects", detect(_PICTURE, max_objects=1001), invalid("max_objects")),
    Row(_RPC, "unknown encoder", detect(_PICTURE, encoder="encoders/no"), missing("encoders/no")),
    Row(
        _RPC,
        "an encoder that detects nothing",
        detect(_PICTURE, encoder=IMAGE),
        Refuses(Code.FAILED_PRECONDITION, "WRONG_OPERATION", "encoder"),
    ),
    Row(
        _RPC,
        "another fingerprint",
        detect(_PICTURE, expected_fingerprint="f" * 64),
        mismatch("expected_fingerprint"),
    ),
    Row(
        _RPC,
        "a text among pictures",
        detect(_PICTURE, Content(text="a cat")),
        RefusesItem("WRONG_MODALITY", "contents[1]", index=1),
    ),
    Row(
        _RPC,
        "no picture",
        detect(Content(image=b"nothing"), _PICTURE),
        RefusesItem("UNSUPPORTED_MEDIA", "contents[0]"),
    ),
    Row(
        _RPC,
        "a bomb",
        detect(Content(image=bomb())),
        RefusesItem("LIMIT_EXCEEDED", "contents[0]"),
    ),
    Row(
        "EncoderService.Encode",
        "a picture with a detector",
        pb.EncodeRequest(encoder=DETECTOR, items=[pb.EncodeItem(content=_PICTURE)]),
        Refuses(Code.FAILED_PRECONDITION, "WRONG_OPERATION", "encoder"),
    ),
    Row(
        "EncoderService.GetEncoder",
        "a detector",
        pb.GetEncoderRequest(name=DETECTOR),
        Answers(
            lambda reply: list(reply.labels) == ["red", "green", "blue"] and not reply.dimensions
        ),
    ),
]
