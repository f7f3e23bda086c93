"""Attributes, contents, segments and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import NullValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from lookalike.type.v1 import content_pb2, segment_pb2
from lookalike_common.errors import InvalidArgumentError
from lookalike_search.encoding import Content, ContentKind
from lookalike_search.model import JsonValue

_EXACT_DOUBLE: Final = 2**53
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400


def from_struct(struct: Struct) -> dict[str, JsonValue]:
    """Return a struct as JSON; its numbers are doubles."""
    return {name: _from_value(value) for name, value in struct.fields.items()}


def put_struct(values: Mapping[str, JsonValue], into: Struct) -> None:
    """Fill in a struct from JSON; integers that a double cannot hold become decimal strings."""
    fields = into.fields
    for name, value in values.items():
        put_value(value, fields[name])


def put_value(value: JsonValue, into: Value) -> None:
    """Fill in one JSON value."""
    match value:
        case None:
            into.null_value = NullValue.NULL_VALUE
        case bool():
            into.bool_value = value
        case int() if abs(value) > _EXACT_DOUBLE:
            into.string_value = str(value)
        case int() | float():
            into.number_value = value
        case str():
            into.string_value = value
        case list():
            into.list_value.SetInParent()
            for each in value:
                put_value(each, into.list_value.values.add())
        case dict():
            into.struct_value.SetInParent()
            put_struct(value, into.struct_value)


def from_content(message: content_pb2.Content, field: str) -> Content:
    """Return a content; raises an error at `field` for what cannot be encoded here."""
    name = message.WhichOneof("data")
    if name is None:
        raise InvalidArgumentError("is empty", field=field)
    kind = ContentKind(name)
    shape: dict[str, int] = {}
    match kind:
        case ContentKind.RAW_IMAGE:
            image = message.raw_image
            data = image.data
            shape = {
                "width": image.width,
                "height": image.height,
                "pixel_format": image.pixel_format,
            }
        case ContentKind.RAW_AUDIO:
            audio = message.raw_audio
            data = audio.data
            shape = {
                "sample_rate": audio.sample_rate,
                "channels": audio.channels,
                "sample_format": audio.sample_format,
            }
        case ContentKind.IMAGE:
            data = message.image
        case ContentKind.AUDIO:
            data = message.audio
        case _:
            data = str(getattr(message, name)).encode()
    return Content(kind=kind, data=data, media_type=message.media_type, shape=shape)


def from_segment(message: segment_pb2.Segment) -> dict[str, JsonValue]:
    """Return a segment as JSON under its fields' own names; nothing for the whole item."""
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def to_segment(facts: Mapping[str, JsonValue]) -> segment_pb2.Segment:
    """Return the segment that `from_segment` was given, as far as this release knows it."""
    return ParseDict(dict(facts), segment_pb2.Segment(), ignore_unknown_fields=True)


def put_timestamp(moment: datetime, into: Timestamp) -> None:
    """Fill in an instant."""
    since = moment - _EPOCH
    into.seconds = since.days * _DAY + since.seconds
    into.nanos = since.microseconds * 1000


def to_timestamp(moment: datetime) -> Timestamp:
    """Return an instant."""
    message = Timestamp()
    put_timestamp(moment, message)
    return message


def _from_value(value: Value) -> JsonValue:
    match value.WhichOneof("kind"):
        case "number_value":
            return value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_from_value(each) for each in value.list_value.values]
        case "struct_value":
            return from_struct(value.struct_value)
        case _:
            return None
