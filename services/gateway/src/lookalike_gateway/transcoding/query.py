"""Query parameters: `?pageSize=10&groupBy.field=item` as JSON for the request message.

Names are those of the JSON form or of the proto, with dots into messages. A repeated field is a
repeated parameter. Maps, and lists of messages, cannot be said in a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lookalike_common.errors import InvalidArgumentError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_MAX_PARAMETERS: Final = 1000
_SPELT_AS_TEXT: Final = frozenset(
    {
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
        *(f"google.protobuf.{kind}Value" for kind in ("String", "Bytes", "Int32", "Int64")),
        *(f"google.protobuf.{kind}Value" for kind in ("UInt32", "UInt64", "Float", "Double")),
    }
)
"""Messages whose JSON form is one text, or can be."""


def parse_query(text: str, message: Descriptor, taken: Mapping[str, str]) -> dict[str, Json]:
    """Return the parameters as JSON for `message`; InvalidArgumentError with the parameter's name.

    Fields in `taken` have their value from the path.
    """
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError:
        raise InvalidArgumentError("the query is not valid") from None
    values: dict[str, Json] = {}
    for name, value in pairs:
        fields = _resolve(name, message)
        if ".".join(each.name for each in fields) in taken:
            raise InvalidArgumentError("has its value from the path", field=name)
        _put(values, fields, value, name)
    return values


def nested(path: str, value: Json) -> dict[str, Json]:
    """Return `{"a": {"b": value}}` for `a.b`."""
    first, *rest = path.split(".")
    for name in reversed(rest):
        value = {name: value}
    return {first: value}


def is_queryable(field: FieldDescriptor) -> bool:
    """Whether a query can give this field a value itself, rather than those below it."""
    if field.message_type is None:
        return True
    return field.message_type.full_name in _SPELT_AS_TEXT and not _is_map(field)


def _resolve(name: str, message: Descriptor) -> list[FieldDescriptor]:
    """Return the fields that a parameter's name leads through."""
    fields: list[FieldDescriptor] = []
    inner: Descriptor | None = message
    for part in name.split("."):
        field = None if inner is None else _field(inner, part)
        if field is None or (fields and fields[-1].is_repeated):
            raise InvalidArgumentError("there is no such parameter", field=name)
        fields.append(field)
        inner = field.message_type
    if not is_queryable(fields[-1]):
        raise InvalidArgumentError("is a message and cannot be given in a query", field=name)
    return fields


def _field(message: Descriptor, name: str) -> FieldDescriptor | None:
    found = message.fields_by_name.get(name) or message.fields_by_camelcase_name.get(name)
    return found or next((each for each in message.fields if each.json_name == name), None)


def _put(values: dict[str, Json], fields: Sequence[FieldDescriptor], text: str, name: str) -> None:
    *outer, last = fields
    for each in outer:
        inner = values.setdefault(each.name, {})
        if not isinstance(inner, dict):
            raise InvalidArgumentError("is given twice", field=name)
        values = inner
    value = _value(last, text, name)
    if last.is_repeated:
        several = values.setdefault(last.name, [])
        if isinstance(several, list):
            several.append(value)
    elif last.name in values:
        raise InvalidArgumentError("is given twice", field=name)
    else:
        values[last.name] = value


def _value(field: FieldDescriptor, text: str, name: str) -> Json:
    """Return a value as `json_format` reads it; only truth values and enums are no JSON texts."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in {"true", "false"}:
            raise InvalidArgumentError("must be true or false", field=name)
        return text == "true"
    if field.type == FieldDescriptor.TYPE_ENUM and text.isdecimal() and text.isascii():
        return int(text)
    return text


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
