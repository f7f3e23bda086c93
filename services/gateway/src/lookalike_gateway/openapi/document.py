"""The document as a whole: paths, parameters, bodies and responses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from google.api import resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lookalike_common.context import REQUEST_ID_HEADER
from lookalike_common.errors import Code
from lookalike_gateway.openapi.comments import Comments, split_summary
from lookalike_gateway.openapi.schemas import Schema, Schemas, is_required
from lookalike_gateway.transcoding.api import WHOLE_MESSAGE, Api, Route
from lookalike_gateway.transcoding.deadlines import TIMEOUT_HEADER
from lookalike_gateway.transcoding.http_errors import HTTP_STATUS
from lookalike_gateway.transcoding.query import is_queryable
from lookalike_gateway.transcoding.template import Variable

JSON: Final = "application/json"
JSON_LINES: Final = "application/x-ndjson"

_CODES: Final = re.compile(
    r"^- (?P<codes>[A-Z_]+(?:, [A-Z_]+)*): (?P<text>.+?)(?=^- |\Z)", re.MULTILINE | re.DOTALL
)
_ABOUT: Final = f"""\
Find similar things: images, text, and whatever else there are encoders for.

This document is generated from the protos. The same calls are served over gRPC, which has more of
them: those with streamed requests, and the bytes of assets.

- 64-bit integers are strings, bytes are base64, fields that have their default are left out.
- Streamed replies are lines of JSON, `{JSON_LINES}`; a last line `{{"error": …}}` says that the
  stream broke off.
- Errors are `{{"error": {{"code", "message", "status", "details"}}}}`; the `reason` in the
  `ErrorInfo` among the details says what went wrong, in words that do not change.
- `{REQUEST_ID_HEADER}` may be sent, and comes back. `{TIMEOUT_HEADER}` limits a call: `500m`, `9S`.
"""
_ERROR: Final[Schema] = {
    "type": "object",
    "description": "Why a call failed; `google.rpc.Status` in the shape of AIP-193.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "message": {"type": "string", "description": "For people."},
                "status": {
                    "type": "string",
                    "enum": [each.name for each in Code if each is not Code.OK],
                },
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["@type"],
                        "properties": {"@type": {"type": "string"}},
                    },
                },
            },
        }
    },
}
_ERROR_RESPONSE: Final = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}


def openapi_document(api: Api, version: str) -> Schema:
    """Return the OpenAPI 3.1 document for all routes of an API."""
    return _Document(api).build(version)


class _Document:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._comments = Comments(api.image)
        self._schemas = Schemas(self._comments)
        self._schemas.components["Error"] = _ERROR
        self._patterns = list(_resource_patterns(api))

    def build(self, version: str) -> Schema:
        paths: dict[str, Schema] = {}
        for route in self._api.routes:
            path, parameters = self._path(route)
            operation = self._operation(route, parameters)
            paths.setdefault(path, {})[route.verb.lower()] = operation
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Lookalike",
                "version": version,
                "description": _ABOUT,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{}, {"token": []}],
            "tags": self._tags(),
            "paths": dict(sorted(paths.items())),
            "components": {
                "schemas": dict(sorted(self._schemas.components.items())),
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }

    def _tags(self) -> list[Schema]:
        used = {route.rpc.service for route in self._api.routes}
        return [
            {"name": each.name, "description": self._comments.of(each.full_name)}
            for each in self._api.services
            if each.full_name in used
        ]

    def _operation(self, route: Route, parameters: list[Schema]) -> Schema:
        rpc = route.rpc
        about = self._comments.of(f"{rpc.service}.{rpc.name}")
        summary, description = split_summary(about)
        service = rpc.service.rpartition(".")[2]
        operation: Schema = {
            "operationId": f"{service}_{rpc.name}",
            "tags": [service],
            "summary": summary,
            "description": description,
            "parameters": [*parameters, *self._query_parameters(route)],
            "responses": self._responses(route, description),
        }
        if route.body:
            operation["requestBody"] = self._body(route)
        return operation

    def _path(self, route: Route) -> tuple[str, list[Schema]]:
        """Return the path with one parameter for each star, as OpenAPI wants it."""
        segments: list[str] = []
        parameters: list[Schema] = []
        for each in route.template.segments:
            if isinstance(each, str):
                segments.append(each)
                continue
            for segment, name in self._named(each):
                segments.append(f"{{{name}}}" if name else segment)
                if name:
                    parameters.append(self._path_parameter(route, each, name))
        verb = f":{route.template.verb}" if route.template.verb else ""
        return "/" + "/".join(segments) + verb, parameters

    def _named(self, variable: Variable) -> list[tuple[str, str]]:
        """Return the segments of a variable, those that are stars with a name."""
        names = self._names(variable)
        return [(segment, names.pop(0) if "*" in segment else "") for segment in variable.segments]

    def _names(self, variable: Variable) -> list[str]:
        """Return names for the stars: those of the resource pattern that looks alike."""
        for pattern in self._patterns:
            parts = pattern.split("/")
            if ["*" if "{" in each else each for each in parts] == list(variable.segments):
                return [each.strip("{}") for each in parts if "{" in each]
        before = [variable.field, *variable.segments]
        return [
            before[index].removesuffix("s") if before[index] != "*" else f"{variable.field}{index}"
            for index, each in enumerate(variable.segments)
            if "*" in each
        ]

    def _path_parameter(self, route: Route, variable: Variable, name: str) -> Schema:
        field = _field_at(route.rpc.descriptor.input_type, variable.field)
        about = "" if field is None else self._comments.of(field.full_name)
        return {
            "name": name,
            "in": "path",
            "required": True,
            "description": f"Its part of `{variable.field}`: {about}",
            "schema": {"type": "string"},
        }

    def _query_parameters(self, route: Route) -> list[Schema]:
        if route.body == WHOLE_MESSAGE:
            return []
        taken = {each.field for each in route.template.variables} | {route.body}
        return list(self._parameters(route.rpc.descriptor.input_type, "", "", taken, ()))

    def _parameters(
        self,
        message: Descriptor,
        prefix: str,
        path: str,
        taken: set[str],
        within: Sequence[str],
    ) -> Iterator[Schema]:
        """Yield the parameters for a message's fields and, with dots, for those of its messages."""
        for field in message.fields:
            name, inner = f"{prefix}{field.json_name}", field.message_type
            if f"{path}{field.name}" in taken:
                continue
            if is_queryable(field):
                yield self._query_parameter(field, name)
            elif inner is not None and not field.is_repeated and inner.full_name not in within:
                below = f"{path}{field.name}."
                inside = (*within, inner.full_name)
                yield from self._parameters(inner, f"{name}.", below, taken, inside)

    def _query_parameter(self, field: FieldDescriptor, name: str) -> Schema:
        schema = self._schemas.of_field(field)
        parameter: Schema = {"name": name, "in": "query", "schema": schema}
        description = schema.pop("description", "")
        if description:
            parameter["description"] = description
        if is_required(field):
            parameter["required"] = True
        return parameter

    def _body(self, route: Route) -> Schema:
        message = route.rpc.descriptor.input_type
        if route.body == WHOLE_MESSAGE:
            taken = {each.field for each in route.template.variables}
            schema = self._schemas.object(message, without=taken)
            required = bool(schema.get("required"))
        else:
            schema = self._schemas.of_field(message.fields_by_name[route.body])
            required = is_required(message.fields_by_name[route.body])
        return {"required": required, "content": {JSON: {"schema": schema}}}

    def _responses(self, route: Route, description: str) -> Mapping[str, Schema]:
        output = route.rpc.descriptor.output_type
        schema = self._schemas.of_message(output)
        if route.response_body:
            schema = self._schemas.of_field(output.fields_by_name[route.response_body])
        kind = JSON_LINES if route.rpc.streams_replies else JSON
        about = self._comments.of(output.full_name) or "Done."
        if route.rpc.streams_replies:
            about = f"One line for each reply. {about}"
        responses = {"200": {"description": about, "content": {kind: {"schema": schema}}}}
        for status, text in sorted(_described_errors(description).items()):
            responses[status] = {"description": text, "content": _ERROR_RESPONSE}
        responses["default"] = {"description": "Any other error.", "content": _ERROR_RESPONSE}
        return responses


def _described_errors(description: str) -> dict[str, str]:
    """Return what a comment's list of codes says, by HTTP status."""
    found: dict[str, list[str]] = {}
    for each in _CODES.finditer(description):
        text = " ".join(each["text"].split())
        for name in each["codes"].split(", "):
            if name in Code.__members__:
                found.setdefault(str(HTTP_STATUS[Code[name]]), []).append(f"{name}: {text}")
    return {status: "\n\n".join(texts) for status, texts in found.items()}


def _resource_patterns(api: Api) -> Iterator[str]:
    for file in api.image.file:
        for message in file.message_type:
            yield from message.options.Extensions[resource_pb2.resource].pattern


def _field_at(message: Descriptor, path: str) -> FieldDescriptor | None:
    field: FieldDescriptor | None = None
    inner: Descriptor | None = message
    for name in path.split("."):
        field = None if inner is None else inner.fields_by_name.get(name)
        inner = None if field is None else field.message_type
    return field
