"""Attributes, contents, segments and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from lookalike.type.v1 import content_pb2, segment_pb2
from lookalike_common.errors import InvalidArgumentError, UnimplementedError
from lookalike_search.encoding import Content, ContentKind
from lookalike_search.model import JsonValue

_EXACT_DOUBLE: Final = 2**53


def from_struct(struct: Struct) -> dict[str, JsonValue]:
    """Return a struct as JSON; its numbers are doubles."""
    return {name: _from_value(value) for name, value in struct.fields.items()}


def to_struct(values: Mapping[str, JsonValue]) -> Struct:
    """Return JSON as a struct; integers that a double cannot hold become decimal strings."""
    return Struct(fields={name: to_value(value) for name, value in values.items()})


def to_value(value: JsonValue) -> Value:
    """Return one JSON value."""
    message = Value()
    match value:
        case None:
            message.null_value = NullValue.NULL_VALUE
        case bool():
            message.bool_value = value
        case int() if abs(value) > _EXACT_DOUBLE:
            message.string_value = str(value)
        case int() | float():
            message.number_value = value
        case str():
            message.string_value = value
        case list():
            message.list_value.CopyFrom(ListValue(values=[to_value(each) for each in value]))
        case dict():
            message.struct_value.CopyFrom(to_struct(value))
    return message


def from_content(message: content_pb2.Content, field: str) -> Content:
    """Return a content; raises an error at `field` for what cannot be encoded here."""
    name = message.WhichOneof("data")
    if name is None:
        raise InvalidArgumentError("is empty", field=field)
    if name == "asset":
        raise UnimplementedError(
            "stored assets cannot be encoded yet; send their bytes", field=f"{field}.asset"
        )
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


def to_timestamp(moment: datetime) -> Timestamp:
    """Return an instant."""
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
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
