"""`docs/limits.md` says what the servers say, and what exceeds a limit ends as it says."""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lookalike_common import errors
from lookalike_encoder.settings import EncoderSettings
from lookalike_gateway.settings import GatewaySettings
from lookalike_ingest.settings import IngestSettings
from lookalike_search.settings import SearchSettings
from tests.support.suite import Suite

SETTINGS: Mapping[str, type[BaseModel]] = {
    "encoder": EncoderSettings,
    "search": SearchSettings,
    "ingest": IngestSettings,
    "gateway": GatewaySettings,
}


@dataclass(frozen=True)
class Limit:
    """One row of the table."""

    server: str
    name: str
    default: int
    setting: str
    code: str
    reason: str


def _rows() -> Iterator[Limit]:
    text = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
    row = re.compile(
        r"^\| (\w+) \| `(\w+)` \| ([\d,]+) \| (?:`(\w+)` )?\| ([A-Z_]+)(?: `(\w+)`)?.* \|$",
        re.MULTILINE,
    )
    for server, name, default, setting, code, reason in row.findall(text):
        yield Limit(server, name, int(default.replace(",", "")), setting, code, reason)


LIMITS = list(_rows())


# Any: JSON has values of every kind.
def _call(suite: Suite, path: str, body: Any = None, **headers: str) -> Any:
    """Call the gateway; without a body by GET."""
    connection = http.client.HTTPConnection(suite.address("gateway"), timeout=30)
    try:
        if body is None and not headers:
            connection.request("GET", path)
        else:
            headers = {"content-type": "application/json", **headers}
            connection.request("POST", path, json.dumps(body), headers)
        return json.load(connection.getresponse())
    finally:
        connection.close()


# Any: as above.
def _reasons(value: Any) -> Iterator[str]:
    """The reasons of all errors in a reply: of the call, or of its items."""
    match value:
        case {"reason": str(reason), "domain": "lookalike"}:
            yield reason
        case dict():
            for each in value.values():
                yield from _reasons(each)
        case list():
            for each in value:
                yield from _reasons(each)


@pytest.mark.parametrize("server", SETTINGS)
def test_the_table_is_what_servers_publish(running_suite: Suite, server: str) -> None:
    published = _call(running_suite, f"/v1/servers/{server}")["limits"]
    documented = {limit.name: limit.default for limit in LIMITS if limit.server == server}
    assert documented == {name: int(value) for name, value in published.items()}


@pytest.mark.parametrize(
    "limit", [limit for limit in LIMITS if limit.setting], ids=lambda each: each.setting
)
def test_the_setting_exists_and_has_that_default(limit: Limit) -> None:
    value: object = SETTINGS[limit.server]()
    for part in limit.setting.lower().split("__"):
        value = getattr(value, part)
    if isinstance(value, timedelta):
        value = int(value.total_seconds())
    assert value == limit.default


def test_codes_belong_to_reasons() -> None:
    raised = {(each.code.name, each.reason) for each in errors.all_errors()}
    # gRPC's own refusal of a long message; an answer that says that it is not all.
    without_reason = {("RESOURCE_EXHAUSTED", ""), ("OK", "")}
    assert {(limit.code, limit.reason) for limit in LIMITS} <= raised | without_reason


QUERY = {"vector": {"dense": {"values": [1]}}}
SEARCH = "/v1/collections/none:search"
RECOMMEND = "/v1/collections/none:recommend"
UPSERT = "/v1/collections/limits/entities:upsert"
ENTITY = {"item": "i", "vectors": {"vector": {"dense": {"values": [1, 0]}}}}
FIELDS = [{"name": "vector", "dimensions": 2, "metric": "METRIC_COSINE"}]
TOO_MUCH: Mapping[str, tuple[str, object]] = {
    "max_attributes_bytes": (UPSERT, {"entities": [{**ENTITY, "attributes": {"a": "x" * 65536}}]}),
    "max_batch_entities": (UPSERT, {"entities": [ENTITY] * 1001}),
    "max_batch_searches": (
        "/v1/collections/none:batchSearch",
        {"requests": [{"queries": [QUERY]}] * 257},
    ),
    "max_examples": (RECOMMEND, {"positive": [QUERY] * 257}),
    "max_excluded": (RECOMMEND, {"positive": [QUERY], "excludeItems": ["i"] * 5001}),
    "max_interests": (
        RECOMMEND,
        {"positive": [QUERY], "strategy": "STRATEGY_INTERESTS", "interests": 17},
    ),
    "max_neighbors": (
        "/v1/collections/none:classify",
        {"query": QUERY, "label": "color", "neighbors": 1001},
    ),
    "max_filter_bytes": (SEARCH, {"queries": [QUERY], "filter": "a" * 65537}),
    "max_filter_nesting": (
        "/v1/collections/limits:search",
        {"queries": [QUERY], "filter": "(" * 33 + "a = 1" + ")" * 33},
    ),
    "max_filter_terms": (
        "/v1/collections/limits:search",
        {"queries": [QUERY], "filter": " AND ".join(["a = 1"] * 201)},
    ),
    "max_filterable_attributes": (
        "/v1/collections?collectionId=wide",
        {
            "vectorFields": FIELDS,
            "attributes": [
                {"name": f"a{n}", "type": "TYPE_INT", "filterable": True} for n in range(49)
            ],
        },
    ),
    "max_item_key_bytes": (UPSERT, {"entities": [{**ENTITY, "item": "i" * 1025}]}),
    "max_page_size": ("/v1/collections/none/entities?pageSize=1001", None),
    "max_queries": (SEARCH, {"queries": [QUERY] * 17}),
    "max_text_bytes": (UPSERT, {"entities": [{**ENTITY, "text": "x" * 65536}]}),
    "max_top_k": (SEARCH, {"queries": [QUERY], "topK": 10001}),
    "max_window": (SEARCH, {"queries": [QUERY], "topK": 10, "offset": 9991}),
    "max_batch_items": (
        "/v1/encoders/minilm-l6-v2:encode",
        {"items": [{"content": {"text": "a"}}] * 1025},
    ),
    "max_candidates": (
        "/v1/encoders/morgan-2048:matchStructure",
        {"smiles": "C", "match": "STRUCTURE_MATCH_EXACT", "candidates": ["C"] * 10_001},
    ),
    "max_regions": (
        "/v1/encoders/efficientnet-lite0:encode",
        {"items": [{"content": {"image": "AAAA"}, "regions": [{"width": 1, "height": 1}] * 257}]},
    ),
    "max_asset_bytes": ("/v1/uploads", {"sizeBytes": (64 << 30) + 1, "sha256": "0" * 64}),
}


@pytest.fixture(scope="module")
def collection(running_suite: Suite) -> None:
    _call(running_suite, "/v1/collections?collectionId=limits", {"vectorFields": FIELDS})


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize("name", TOO_MUCH)
def test_more_is_refused_with_that_reason(running_suite: Suite, name: str) -> None:
    (limit,) = (each for each in LIMITS if each.name == name)
    assert [*_reasons(_call(running_suite, *TOO_MUCH[name]))] == [limit.reason]


def test_a_longer_body_is_refused_before_it_is_sent(running_suite: Suite) -> None:
    (limit,) = (each for each in LIMITS if each.name == "max_body_bytes")
    longer = {"content-length": str(limit.default + 1)}
    assert [*_reasons(_call(running_suite, SEARCH, **longer))] == [limit.reason]
