"""Requests from path, query and body; replies, errors and time limits as HTTP has them."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format, text_format
from google.protobuf.message import Message

from lookalike_common.descriptors import load_image
from lookalike_common.errors import (
    Code,
    InvalidArgumentError,
    InvalidFilterError,
    LookalikeError,
    OverloadedError,
    UnauthenticatedError,
)
from lookalike_gateway.transcoding.api import Api, RouteTable
from lookalike_gateway.transcoding.deadlines import parse_timeout
from lookalike_gateway.transcoding.http_errors import (
    HTTP_STATUS,
    BodyTooLargeError,
    MethodNotAllowedError,
    error_headers,
    error_json,
    http_status,
)
from lookalike_gateway.transcoding.messages import build_request, reply_json

API = Api(load_image())
TABLE = RouteTable(API.routes)


def built(verb: str, path: str, query: str = "", body: Any = None) -> Message:
    match = TABLE.match(verb, path)
    assert match is not None
    raw = b"" if body is None else json.dumps(body).encode()
    return build_request(match, query, raw, API.pool)


def as_json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, descriptor_pool=API.pool)


IMAGE = base64.b64encode(b"\x89PNG\0\xff").decode()


@pytest.mark.parametrize(
    ("verb", "path", "query", "body", "request_json"),
    [
        ("GET", "/v1/collections", "", None, {}),
        ("GET", "/v1/collections", "pageSize=5&pageToken=a%2Bb+c", None,
         {"pageSize": 5, "pageToken": "a+b c"}),
        ("GET", "/v1/collections", "page_size=5", None, {"pageSize": 5}),
        ("GET", "/v1/collections/a", "", None, {"name": "collections/a"}),
        ("GET", "/v1/collections/a/entities",
         "filter=price%20%3C%2020&outputFields=item&outputFields=text&vectorFormat=2", None,
         {"collection": "collections/a", "filter": "price < 20",
          "outputFields": ["item", "text"], "vectorFormat": "VECTOR_FORMAT_VALUES"}),
        ("GET", "/v1/jobs", "states=STATE_RUNNING&states=STATE_FAILED", None,
         {"states": ["STATE_RUNNING", "STATE_FAILED"]}),
        ("GET", "/v1/jobs/j:watch", "offset=9007199254740993", None,
         {"name": "jobs/j", "offset": "9007199254740993"}),
        ("POST", "/v1/collections", "collectionId=a",
         {"vectorFields": [{"encoder": "encoders/x@1"}], "labels": {"a": "b"}},
         {"collectionId": "a", "collection":
          {"vectorFields": [{"encoder": "encoders/x@1"}], "labels": {"a": "b"}}}),
        ("POST", "/v1/collections", "collection_id=a", None, {"collectionId": "a"}),
        ("POST", "/v1/collections/a:search", "",
         {"queries": [{"content": {"image": IMAGE}, "minScore": 0.5}], "topK": 3},
         {"collection": "collections/a", "topK": 3,
          "queries": [{"content": {"image": IMAGE}, "minScore": 0.5}]}),
        ("POST", "/v1/collections/a:search", "", {"collection": "collections/other", "top_k": 3},
         {"collection": "collections/a", "topK": 3}),
        ("POST", "/v1/collections/a/entities:upsert", "",
         {"entities": [{"attributes": {"n": 1, "t": ["x", None]}}]},
         {"collection": "collections/a",
          "entities": [{"attributes": {"n": 1.0, "t": ["x", None]}}]}),
        ("PATCH", "/v1/collections/a/entities/b", "updateMask=text,attributes.unitPrice",
         {"text": "new", "attributes": {"unit_price": 1}},
         {"entity": {"name": "collections/a/entities/b", "text": "new",
                     "attributes": {"unit_price": 1.0}},
          "updateMask": "text,attributes.unitPrice"}),
        ("POST", "/v1/jobs/j:cancel", "", None, {"name": "jobs/j"}),
        ("POST", "/v1/jobs/j:cancel", "", {}, {"name": "jobs/j"}),
    ],
)  # fmt: skip
def test_a_request_is_built_from_path_query_and_body(
    verb: str, path: str, query: str, body: Any, request_json: dict[str, Any]
) -> None:
    assert as_json(built(verb, path, query, body)) == request_json


@pytest.mark.parametrize(
    ("call", "query", "body", "field", "part"),
    [
        ("GET /v1/collections", "size=5", None, "size", "no such parameter"),
        ("GET /v1/collections", "pageSize.x=5", None, "pageSize.x", "no such parameter"),
        ("GET /v1/collections", "pageSize=x", None, "page_size", "int"),
        ("GET /v1/collections", "pageSize=1&page_size=2", None, "page_size", "twice"),
        ("GET /v1/collections/a", "name=collections/b", None, "name", "from the path"),
        ("GET /v1/jobs", "states=RUNNING", None, "states[0]", "enum"),
        ("GET /v1/collections", "a=%FF", None, "", "query is not valid"),
        ("POST /v1/collections/a:search", "topK=3", {}, "top_k", "into the body"),
        ("POST /v1/collections/a:search", "filter=x", {}, "filter", "into the body"),
        ("POST /v1/collections", "collectionId=a&collection.labels.a=b", {},
         "collection.labels.a", "no such parameter|message"),
        ("POST /v1/collections/a:search", "", [], "", "JSON object"),
        ("POST /v1/collections/a:search", "", {"foo": 1}, "foo", "no such field"),
        ("POST /v1/collections/a:search", "", {"queries": [{"foo": 1}]}, "queries[0].foo",
         "no such field"),
        ("POST /v1/collections/a:search", "", {"topK": "x"}, "topK", "int"),
        ("POST /v1/collections/a:search", "", {"topK": 2**40}, "topK", "range"),
        ("POST /v1/collections/a:search", "", {"queries": {}}, "queries", "must be in"),
        ("POST /v1/collections/a:search", "", {"fusion": "NOPE"}, "fusion", "enum"),
        ("POST /v1/collections/a:search", "",
         {"queries": [{"content": {"text": "a", "image": IMAGE}}]}, "queries[0].content", "oneof"),
        ("POST /v1/collections", "", {"foo": 1}, "collection.foo", "no such field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_field(
    call: str, query: str, body: Any, field: str, part: str
) -> None:
    verb, _, path = call.partition(" ")
    with pytest.raises(InvalidArgumentError, match=f"(?i){part}") as caught:
        built(verb, path, query, body)
    assert caught.value.field == field


def test_what_is_no_json() -> None:
    match = TABLE.match("POST", "/v1/collections/a:search")
    assert match is not None
    for body in (b"{", b"\xff", b"NaN", b"[" * 100_000, b'{"a": 1} x'):
        with pytest.raises(InvalidArgumentError):
            build_request(match, "", body, API.pool)
    deep = b'{"queries":' + b"[" * 500 + b"]" * 500 + b"}"
    with pytest.raises(InvalidArgumentError):
        build_request(match, "", deep, API.pool)


def test_a_reply_is_protobufs_json() -> None:
    match = TABLE.match("POST", "/v1/collections/a:search")
    assert match is not None
    reply = match.route.rpc.reply()
    content = {
        "hits": [
            {
                "entity": {"name": "collections/a/entities/é", "generation": str(2**60)},
                "score": 0.1,
                "rank": 1,
            }
        ],
    }
    json_format.ParseDict(content, reply, descriptor_pool=API.pool)
    assert json.loads(reply_json(match.route, reply, API.pool)) == content
    assert reply_json(match.route, match.route.rpc.reply(), API.pool) == b"{}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10S", timedelta(seconds=10)),
        ("500m", timedelta(milliseconds=500)),
        ("1H", timedelta(hours=1)),
        ("2M", timedelta(minutes=2)),
        ("7u", timedelta(microseconds=7)),
        ("99999999n", timedelta(microseconds=100_000)),
    ],
)
def test_a_time_limit(text: str, expected: timedelta) -> None:
    assert parse_timeout(text) == expected


@pytest.mark.parametrize("text", ["", "10", "S", "10s", "-1S", "1.5S", "999999999S", "\u0661S"])
def test_what_is_no_time_limit(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="grpc-timeout"):
        parse_timeout(text)


def test_every_code_has_its_http_status() -> None:
    assert set(HTTP_STATUS) == set(Code)
    assert all(400 <= status < 600 for code, status in HTTP_STATUS.items() if code != Code.OK)


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (InvalidFilterError("no", field="filter"), 400, "INVALID_ARGUMENT", {}),
        (OverloadedError("full", retry_after=timedelta(seconds=0.2)), 429, "RESOURCE_EXHAUSTED",
         {"retry-after": "1"}),
        (UnauthenticatedError("who"), 401, "UNAUTHENTICATED", {"www-authenticate": "Bearer"}),
        (BodyTooLargeError("big"), 413, "INVALID_ARGUMENT", {}),
        (MethodNotAllowedError(["GET", "POST"]), 405, "UNIMPLEMENTED", {"allow": "GET, POST"}),
    ],
)  # fmt: skip
def test_an_error_over_http(
    error: LookalikeError, status: int, code: str, headers: dict[str, str]
) -> None:
    body = json.loads(error_json(error))["error"]
    assert http_status(error) == body["code"] == status
    assert body["status"] == code
    assert error_headers(error) == headers
    info = body["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"]) == (error.reason, "lookalike")


BINDINGS = """
syntax: "proto3" name: "t.proto" package: "lookalike.search.v1"
dependency: "google/api/annotations.proto"
message_type { name: "M" field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "inner" number: 2 type: TYPE_MESSAGE type_name: ".lookalike.search.v1.M"
          label: LABEL_OPTIONAL } }
service { name: "T" method { name: "Do" input_type: ".lookalike.search.v1.M"
  output_type: ".lookalike.search.v1.M" options { [google.api.http] {
    patch: "/v1/{inner.name=a/*}" body: "inner" response_body: "inner"
    additional_bindings { custom { kind: "FETCH" path: "/v1/x/{name}" } } } } } }
"""


def test_all_kinds_of_bindings() -> None:
    image = descriptor_pb2.FileDescriptorSet()
    image.file.extend(each for each in load_image().file if each.name.startswith("google/"))
    text_format.Parse(BINDINGS, image.file.add())
    api = Api(image)
    table = RouteTable(api.routes)
    match = table.match("PATCH", "/v1/a/b")
    assert match is not None
    request = build_request(match, "name=q&inner.inner.name=r", b'{"inner": {}}', api.pool)
    assert as_json(request) == {"name": "q", "inner": {"name": "a/b", "inner": {"name": "r"}}}
    assert json.loads(reply_json(match.route, request, api.pool)) == {
        "name": "a/b",
        "inner": {"name": "r"},
    }
    other = table.match("FETCH", "/v1/x/y")
    assert other is not None
    assert as_json(build_request(other, "", b"", api.pool)) == {"name": "y"}
