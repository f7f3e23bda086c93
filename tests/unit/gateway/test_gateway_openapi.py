"""The OpenAPI document: valid, complete, and with the comments of the protos."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from lookalike_common.descriptors import load_image
from lookalike_gateway.adapters.page_assets import assets_folder
from lookalike_gateway.openapi import openapi_document
from lookalike_gateway.openapi.comments import split_summary
from lookalike_gateway.transcoding.api import Api

API = Api(load_image())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(json.dumps(openapi_document(API, "1.2.3")))
    return parsed


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
    }


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    expected = {f"{r.rpc.service.rpartition('.')[2]}_{r.rpc.name}" for r in API.routes}
    assert set(operations(document)) == expected


def test_everything_has_its_comment(document: dict[str, Any]) -> None:
    assert all(each["description"] for each in document["tags"])
    for name, operation in operations(document).items():
        assert operation["summary"], name
        for parameter in operation["parameters"]:
            assert parameter["description"], (name, parameter["name"])
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
        for field, inner in schema.get("properties", {}).items():
            assert name in {"Error", "google.rpc.Status"} or inner.get("description"), (name, field)


def test_a_search(document: dict[str, Any]) -> None:
    search = document["paths"]["/v1/collections/{collection}:search"]["post"]
    assert [each["name"] for each in search["parameters"]] == ["collection"]
    body = search["requestBody"]["content"]["application/json"]["schema"]
    assert "collection" not in body["properties"]
    assert body["required"] == ["queries"]
    assert body["properties"]["topK"]["maximum"] == 10_000
    assert "NOT_FOUND: no such collection" in search["responses"]["404"]["description"]


def test_a_stream_is_lines_of_json(document: dict[str, Any]) -> None:
    reply = document["paths"]["/v1/jobs/{job}:watch"]["get"]["responses"]["200"]
    assert list(reply["content"]) == ["application/x-ndjson"]


def test_kinds_of_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    entity = schemas["search.v1.Entity"]["properties"]
    assert entity["generation"]["type"] == "string"
    assert entity["createTime"]["format"] == "date-time"
    assert entity["createTime"]["readOnly"]
    assert entity["content"]["writeOnly"]
    assert entity["attributes"]["type"] == "object"
    assert entity["vectors"]["additionalProperties"]["$ref"].endswith("type.v1.Vector")
    assert schemas["type.v1.Content"]["properties"]["image"]["contentEncoding"] == "base64"
    state = schemas["search.v1.Collection.State"]
    assert "STATE_READY" in state["enum"]
    assert "In memory, searchable" in state["description"]


@pytest.mark.parametrize(
    ("text", "summary", "rest"),
    [
        ("One.", "One", ""),
        ("One. Two.", "One", "Two."),
        ("One\nline. Two.\n\n- A: b.", "One line", "Two.\n\n- A: b."),
        ("", "", ""),
    ],
)
def test_the_first_sentence_is_the_summary(text: str, summary: str, rest: str) -> None:
    assert split_summary(text) == (summary, rest)


def test_the_pages_scripts_are_installed() -> None:
    assert (assets_folder() / "swagger-ui.css").stat().st_size > 100_000
