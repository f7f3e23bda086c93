"""Requests from what HTTP brings, and replies as JSON; both by protobuf's own JSON mapping."""

from __future__ import annotations

import re
from typing import Final

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from lookalike_common.errors import InvalidArgumentError, join_path
from lookalike_gateway.transcoding.api import WHOLE_MESSAGE, Match, Route
from lookalike_gateway.transcoding.query import Json, nested, parse_query

_CHAIN: Final = re.compile(r"Failed to parse (\w+) field: ")
_PLACE: Final = re.compile(r' at "?\w+(?P<path>(?:\.\w+|\[\w+\])*)"?\.*$')
_UNKNOWN: Final = re.compile(r'has no field named "(?P<name>[^"]{1,80})"')
_MAX_REASON: Final = 240


def build_request(match: Match, query: str, body: bytes, pool: DescriptorPool) -> Message:
    """Return the request message; InvalidArgumentError says which field is wrong."""
    route = match.route
    request = route.rpc.request()
    if route.body and body:
        content = _load(body)
        if route.body != WHOLE_MESSAGE:
            content = {route.body: content}
        if not isinstance(content, dict):
            raise InvalidArgumentError("the body must be a JSON object")
        _parse(content, request, pool)
    if query:
        given = parse_query(query, route.rpc.descriptor.input_type, match.variables)
        if given and route.body == WHOLE_MESSAGE:
            raise InvalidArgumentError("goes into the body, not the query", field=next(iter(given)))
        _parse(given, request, pool)
    for path, value in match.variables.items():
        _parse(nested(path, value), request, pool)
    return request


def reply_json(route: Route, reply: Message, pool: DescriptorPool) -> bytes:
    """Return the JSON of a reply: lower camel case, without fields that have their default."""
    content = json_format.MessageToDict(reply, descriptor_pool=pool)
    if route.response_body:
        field = reply.DESCRIPTOR.fields_by_name[route.response_body]
        return orjson.dumps(content.get(field.json_name))
    return orjson.dumps(content)


def _load(body: bytes) -> Json:
    try:
        content: Json = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError(f"the body is no JSON: {error}") from None
    return content


def _parse(content: dict[str, Json], request: Message, pool: DescriptorPool) -> None:
    try:
        json_format.ParseDict(content, request, descriptor_pool=pool)
    except json_format.ParseError as error:
        raise _explained(str(error)) from None


def _explained(text: str) -> InvalidArgumentError:
    """Take the field and the reason out of what `json_format` says."""
    text = text.partition("\n Available Fields")[0]
    chain = _CHAIN.findall(text)
    reason = _CHAIN.sub("", text)
    place = _PLACE.search(reason)
    field = "" if place is None else place["path"].removeprefix(".")
    field = field or ".".join(chain)
    reason = _PLACE.sub("", reason)
    unknown = _UNKNOWN.search(reason)
    if unknown is not None:
        return InvalidArgumentError(
            "there is no such field", field=join_path(field, unknown["name"])
        )
    return InvalidArgumentError(reason.rstrip(".")[:_MAX_REASON], field=field)
