"""JSON schemas of messages and enums, as protobuf's JSON mapping writes and reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from lookalike_gateway.openapi.comments import Comments
from lookalike_gateway.openapi.rules import constraints

# Any: a JSON document of no fixed shape.
Schema: TypeAlias = dict[str, Any]
SchemaMaker: TypeAlias = Callable[[], Schema]

_PACKAGE: Final = "lookalike."
_BEHAVIOR: Final = field_behavior_pb2.FieldBehavior

_SCALARS: Final[Mapping[int, Schema]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_SINT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_SFIXED32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptor.TYPE_FIXED32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_SINT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_SFIXED64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_FIXED64: {"type": "string", "format": "uint64"},
}
_WELL_KNOWN: Final[Mapping[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
}


class Schemas:
    """Collects the components that are referred to, as they are asked for."""

    def __init__(self, comments: Comments) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments

    def of_message(self, message: Descriptor) -> Schema:
        """Return a reference to the schema of a message, or the schema of a well-known one."""
        well_known = _WELL_KNOWN.get(message.full_name)
        if well_known is not None:
            return dict(well_known)
        return self._reference(message.full_name, lambda: self.object(message))

    def of_field(self, field: FieldDescriptor) -> Schema:
        """Return the schema of a field's value with its description."""
        schema = self._value(field)
        if "$ref" not in schema or field.is_repeated:
            schema |= constraints(field)
        description = self._description(field)
        if description:
            schema["description"] = description
        behaviors = set(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])
        if behaviors & {_BEHAVIOR.Value("OUTPUT_ONLY")}:
            schema["readOnly"] = True
        if behaviors & {_BEHAVIOR.Value("INPUT_ONLY")}:
            schema["writeOnly"] = True
        if field.GetOptions().deprecated:
            schema["deprecated"] = True
        return schema

    def object(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        """Return the schema of a message itself, without some of its fields."""
        fields = [each for each in message.fields if each.name not in without]
        schema: Schema = {
            "type": "object",
            "properties": {each.json_name: self.of_field(each) for each in fields},
        }
        description = self._comments.of(message.full_name)
        if description:
            schema["description"] = description
        required = [each.json_name for each in fields if is_required(each)]
        if required:
            schema["required"] = required
        return schema

    def _value(self, field: FieldDescriptor) -> Schema:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return {
                "type": "object",
                "additionalProperties": self._single(message.fields_by_name["value"]),
            }
        single = self._single(field)
        return {"type": "array", "items": single} if field.is_repeated else single

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.of_message(field.message_type)
        enum = field.enum_type
        if enum is not None:
            return self._reference(enum.full_name, lambda: self._enum(enum))
        return dict(_SCALARS[field.type])

    def _enum(self, enum: EnumDescriptor) -> Schema:
        meanings = [
            f"- `{each.name}`: {_flat(self._comments.of(f'{enum.full_name}.{each.name}'))}"
            for each in enum.values
        ]
        about = self._comments.of(enum.full_name)
        return {
            "type": "string",
            "enum": [each.name for each in enum.values],
            "description": "\n".join([about, "", *meanings]).strip(),
        }

    def _description(self, field: FieldDescriptor) -> str:
        about = self._comments.of(field.full_name)
        group = field.containing_oneof
        if group is None or len(group.fields) == 1:
            return about
        others = ", ".join(f"`{each.json_name}`" for each in group.fields)
        return f"{about}\n\nAt most one of {others} is set.".strip()

    def _reference(self, full_name: str, schema: SchemaMaker) -> Schema:
        name = full_name.removeprefix(_PACKAGE)
        if name not in self.components:
            self.components[name] = {}  # messages may hold themselves
            self.components[name] = schema()
        return {"$ref": f"#/components/schemas/{name}"}


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request must have the field."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return _BEHAVIOR.Value("REQUIRED") in behaviors


def _flat(text: str) -> str:
    return " ".join(text.split())
