"""Path templates, and which route a path finds."""

from __future__ import annotations

import pytest

from lookalike_common.descriptors import load_image
from lookalike_gateway.transcoding.api import Api, RouteTable
from lookalike_gateway.transcoding.template import PathTemplate


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/v1/collections", "/v1/collections", {}),
        ("/v1/collections", "/v1/collections/", None),
        ("/v1/{name=collections/*}", "/v1/collections/a", {"name": "collections/a"}),
        ("/v1/{name=collections/*}", "/v1/collections/", None),
        ("/v1/{name=collections/*}", "/v1/collections/a/b", None),
        ("/v1/{name=collections/*}", "/v1/aliases/a", None),
        ("/v1/{name=collections/*}", "/v2/collections/a", None),
        ("/v1/{name=collections/*}", "/v1/collections/a%2Fb", {"name": "collections/a%2Fb"}),
        ("/v1/{name=collections/*}", "/v1/collections/%C3%A9%20", {"name": "collections/é "}),
        ("/v1/{name=a/*/b/*}", "/v1/a/1/b/2", {"name": "a/1/b/2"}),
        ("/v1/{c=c/*}:search", "/v1/c/x:search", {"c": "c/x"}),
        ("/v1/{c=c/*}:search", "/v1/c/x:y:search", {"c": "c/x:y"}),
        ("/v1/{c=c/*}:search", "/v1/c/x", None),
        ("/v1/{c=c/*}:search", "/v1/c/:search", None),
        ("/v1/{c=c/*}/e:count", "/v1/c/x/e:count", {"c": "c/x"}),
        ("/v1/{id}", "/v1/x", {"id": "x"}),
        ("/v1/{a.b}/{c}", "/v1/x/y", {"a.b": "x", "c": "y"}),
        ("/v1/{path=**}", "/v1/x/y%2Fz", {"path": "x/y%2Fz"}),
        ("/v1/*/x", "/v1/anything/x", {}),
        ("/v1/a.b", "/v1/aXb", None),
    ],
)
def test_what_a_template_matches(template: str, path: str, values: dict[str, str] | None) -> None:
    assert PathTemplate.parse(template).match(path) == values


@pytest.mark.parametrize("text", ["", "v1", "/v1/{", "/v1/{name", "/v1/{N}", "/v1//x", "/v1/a{b}"])
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(ValueError, match=r"template|slash"):
        PathTemplate.parse(text)


def test_a_path_that_is_not_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        PathTemplate.parse("/v1/{id}").match("/v1/%FF")


@pytest.fixture(scope="module")
def table() -> RouteTable:
    return RouteTable(Api(load_image()).routes)


@pytest.mark.parametrize(
    ("verb", "path", "rpc"),
    [
        ("GET", "/v1/collections", "ListCollections"),
        ("POST", "/v1/collections", "CreateCollection"),
        ("GET", "/v1/collections/a", "GetCollection"),
        ("DELETE", "/v1/collections/a", "DeleteCollection"),
        ("POST", "/v1/collections/a:search", "Search"),
        ("POST", "/v1/collections/a:batchSearch", "BatchSearch"),
        ("POST", "/v1/collections/a:recommend", "Recommend"),
        ("POST", "/v1/collections/a:classify", "Classify"),
        ("GET", "/v1/collections/a/entities", "ListEntities"),
        ("GET", "/v1/collections/a/entities:count", "CountEntities"),
        ("POST", "/v1/collections/a/entities:upsert", "UpsertEntities"),
        ("GET", "/v1/collections/a/entities/b", "GetEntity"),
        ("GET", "/v1/jobs/a", "GetJob"),
        ("GET", "/v1/jobs/a:watch", "WatchJob"),
        ("GET", "/v1/jobs/a/failures", "ListJobFailures"),
        ("POST", "/v1/jobs/a:cancel", "CancelJob"),
        ("POST", "/v1/jobs/a:pause", "PauseJob"),
        ("GET", "/v1/jobs/a/items", "ListJobItems"),
        ("POST", "/v1/encoders/x@1:encode", "Encode"),
        ("GET", "/v1/encoders/x@1", "GetEncoder"),
        ("GET", "/v1/servers/search", "GetServerInfo"),
        ("POST", "/v1/collections/a:nothing", None),
        ("GET", "/v1", None),
    ],
)
def test_the_route_of_a_path(table: RouteTable, verb: str, path: str, rpc: str | None) -> None:
    match = table.match(verb, path)
    assert (None if match is None else match.route.rpc.name) == rpc


def test_the_methods_of_a_path(table: RouteTable) -> None:
    assert table.verbs("/v1/collections/a") == ["DELETE", "GET", "PATCH"]
    assert table.verbs("/v1/nothing") == []


def test_every_unary_or_server_streaming_rpc_with_an_annotation_has_a_route() -> None:
    api = Api(load_image())
    routed = {route.rpc.path for route in api.routes}
    own = [each for each in api.services if each.full_name.startswith("lookalike.")]
    without = {
        f"/{service.full_name}/{method.name}"
        for service in own
        for method in service.methods
        if f"/{service.full_name}/{method.name}" not in routed
    }
    assert without <= {
        "/lookalike.encoder.v1.EncoderService/StreamEncode",
        "/lookalike.search.v1.EntityService/StreamUpsertEntities",
        "/lookalike.asset.v1.AssetService/UploadChunk",
        "/lookalike.asset.v1.AssetService/ReadAsset",
    }
