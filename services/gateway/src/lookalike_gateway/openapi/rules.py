"""The rules of `buf.validate` that JSON Schema can say."""

from __future__ import annotations

from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_TEXT: Final = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
_NUMBER: Final = {
    "gte": "minimum",
    "gt": "exclusiveMinimum",
    "lte": "maximum",
    "lt": "exclusiveMaximum",
}
_KEYWORDS: Final = {
    "string": _TEXT,
    **dict.fromkeys(("int32", "uint32", "float", "double"), _NUMBER),
    "repeated": {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"},
    "map": {"min_pairs": "minProperties", "max_pairs": "maxProperties"},
}
"""By the kind of rules: their names there and in JSON Schema.

64-bit integers are texts in JSON, and bounds in bytes are no bounds in characters: both stay out.
"""


def constraints(field: FieldDescriptor) -> dict[str, Any]:  # Any: any JSON Schema keyword's value
    """Return the keywords of JSON Schema for the rules of a field."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    kind = rules.WhichOneof("type")
    if kind is None or kind not in _KEYWORDS:
        return {}
    found: Message = getattr(rules, kind)
    return {
        keyword: getattr(found, name)
        for name, keyword in _KEYWORDS[kind].items()
        if _is_set(found, name)
    }


def _is_set(rules: Message, name: str) -> bool:
    return any(field.name == name for field, _ in rules.ListFields())
