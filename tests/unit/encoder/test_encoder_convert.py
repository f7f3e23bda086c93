"""Protobuf in, protobuf out, as pure functions."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from lookalike.encoder.v1 import encoder_pb2
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2, segment_pb2, vector_pb2
from lookalike_common.errors import (
    InternalError,
    InvalidContentError,
    LookalikeError,
    UnsupportedMediaError,
    WrongModalityError,
)
from lookalike_common.status import error_from_status, to_status
from lookalike_encoder.content import (
    Answer,
    Encoded,
    ImageContent,
    Item,
    Outcome,
    Priority,
    RawImageContent,
    Task,
    TextContent,
    Timings,
)
from lookalike_encoder.convert.encode import from_items, from_priority, to_response
from lookalike_encoder.convert.encoder import to_encoder
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.registry import Slot, State
from lookalike_media import Box, PixelFormat

MakeManifest = Callable[..., Manifest]
Content = content_pb2.Content


def read(manifest: Manifest, *contents: Content, **fields: Any) -> list[Item | LookalikeError]:
    items = [pb.EncodeItem(content=content) for content in contents]
    return from_items(pb.EncodeRequest(items=items, **fields), manifest)


def test_contents_are_read(make_manifest: MakeManifest) -> None:
    grey = content_pb2.RawImage(
        data=b"12", width=2, height=1, pixel_format=content_pb2.RawImage.PIXEL_FORMAT_GRAY8
    )
    manifest = make_manifest(modalities=["text", "image"])
    assert read(
        manifest, Content(text="words"), Content(image=b"bytes"), Content(raw_image=grey)
    ) == [
        Item(TextContent("words")),
        Item(ImageContent(b"bytes")),
        Item(RawImageContent(b"12", 2, 1, PixelFormat.GRAY8)),
    ]


def test_regions_and_tasks_are_read(make_manifest: MakeManifest) -> None:
    item = pb.EncodeItem(
        content=Content(image=b"bytes"),
        regions=[segment_pb2.BoundingBox(x=1, y=2, width=3, height=4)],
    )
    request = pb.EncodeRequest(items=[item], task_type=content_pb2.TASK_TYPE_QUERY)
    assert from_items(request, make_manifest(modalities=["image"])) == [
        Item(ImageContent(b"bytes"), (Box(1, 2, 3, 4),), Task.QUERY)
    ]


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (Content(asset=f"assets/{'0' * 64}"), UnsupportedMediaError, "send the bytes"),
        (Content(audio=b"beep"), WrongModalityError, "takes text, not a sound"),
        (Content(smiles="CCO"), WrongModalityError, "takes text, not a molecule"),
        (Content(sequence="ACGT"), WrongModalityError, "takes text, not a nucleotide sequence"),
    ],
)
def test_what_no_encoder_here_takes_is_an_error(
    make_manifest: MakeManifest, content: Content, kind: type[LookalikeError], said: str
) -> None:
    (error,) = read(make_manifest(), content)
    assert isinstance(error, kind)
    assert said in str(error)
    assert error.field.startswith("content")


def test_who_waits() -> None:
    assert from_priority(pb.PRIORITY_BULK) is Priority.BULK
    assert from_priority(pb.PRIORITY_INTERACTIVE) is Priority.INTERACTIVE
    assert from_priority(pb.PRIORITY_UNSPECIFIED) is Priority.INTERACTIVE


VECTORS = np.array([[0.5, -0.25], [1.0, 0.0]], np.float32)


def test_packed_vectors_are_little_endian_floats(make_manifest: MakeManifest) -> None:
    response = to_response(
        make_manifest(), pb.EncodeRequest(), [Encoded(VECTORS, truncated=True)], None, to_status
    )
    (result,) = response.results
    dense = [vector.dense for vector in result.item.vectors]
    assert [np.frombuffer(each.data, "<f4").tolist() for each in dense] == VECTORS.tolist()
    assert all(each.dtype == vector_pb2.DATA_TYPE_FLOAT32 for each in dense)
    assert all(each.dimensions == 2 and not each.values for each in dense)
    assert result.item.truncated
    assert (response.encoder, response.timings[:]) == ("encoders/fake@1", [])
    assert response.fingerprint == make_manifest().fingerprint


def test_readable_vectors_are_numbers(make_manifest: MakeManifest) -> None:
    request = pb.EncodeRequest(vector_format=vector_pb2.VECTOR_FORMAT_VALUES)
    response = to_response(make_manifest(), request, [Encoded(VECTORS)], None, to_status)
    dense = response.results[0].item.vectors[0].dense
    assert list(dense.values) == [0.5, -0.25]
    assert not dense.data


def test_errors_stand_at_their_place(make_manifest: MakeManifest) -> None:
    outcomes: list[Outcome] = [
        Encoded(VECTORS),
        InvalidContentError("is empty", field="content"),
        InternalError("secret"),
    ]
    response = to_response(make_manifest(), pb.EncodeRequest(), outcomes, None, to_status)
    assert [each.WhichOneof("result") for each in response.results] == ["item", "error", "error"]
    bad = error_from_status(response.results[1].error)
    assert isinstance(bad, InvalidContentError)
    assert bad.field == "items[1].content"
    assert "secret" not in str(response.results[2].error)


def test_timings_are_given_if_asked_for(make_manifest: MakeManifest) -> None:
    timings = Timings(*(timedelta(milliseconds=each) for each in (1, 2, 3)))
    answer = Answer((Encoded(VECTORS),), timings, batch_rows=7)
    request = pb.EncodeRequest(include_timings=True)
    response = to_response(make_manifest(), request, answer.outcomes, answer, to_status)
    assert [(each.stage, each.duration.ToMilliseconds()) for each in response.timings] == [
        ("queue", 1),
        ("preprocess", 2),
        ("inference", 3),
    ]
    assert response.batch_size == 7


def test_encoders_are_described(make_manifest: MakeManifest) -> None:
    slot = Slot(make_manifest(), State.FAILED, InvalidContentError("broken"))
    encoder = to_encoder(slot, to_status)
    assert (encoder.name, encoder.version) == ("encoders/fake@1", "1")
    assert encoder.state == encoder_pb2.Encoder.STATE_FAILED
    assert encoder.error.message == "broken"
    assert encoder.fingerprint == slot.manifest.fingerprint
    assert encoder.modalities == [content_pb2.MODALITY_TEXT]
    assert (encoder.dimensions, encoder.space) == (8, "fake@1")
