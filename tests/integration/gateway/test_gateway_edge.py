"""What every request goes through, the documentation, and the probes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from pydantic import ValidationError

from lookalike_common.settings import AuthSettings
from lookalike_common.testing import running, server_settings
from lookalike_gateway.adapters.http_server import HttpServer
from lookalike_gateway.app import build
from lookalike_gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import Peers, client_of

SEARCH = "/v1/collections/a:search"
QUERY = {"queries": [{"content": {"text": "a"}}]}


def error_of(reply: httpx2.Response) -> tuple[int, str, str]:
    error = reply.json()["error"]
    assert error["code"] == reply.status_code
    return reply.status_code, error["status"], error["details"][0]["reason"]


async def test_what_is_not_there(http: httpx2.AsyncClient) -> None:
    for path in ("/", "/v1", "/v1/", "/v1/nothing", "/docs/assets/../../app.py", "/docs/assets/x"):
        assert error_of(await http.get(path)) == (404, "NOT_FOUND", "RESOURCE_NOT_FOUND")


async def test_a_method_that_a_path_does_not_take(http: httpx2.AsyncClient) -> None:
    reply = await http.put("/v1/collections/a")
    assert error_of(reply) == (405, "UNIMPLEMENTED", "NOT_IMPLEMENTED")
    assert reply.headers["allow"] == "DELETE, GET, PATCH"


async def test_a_path_that_is_not_utf8(http: httpx2.AsyncClient) -> None:
    assert error_of(await http.get("/v1/collections/%ff"))[0] == 400


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b" " * 1000


async def test_a_body_that_is_too_long(peers: Peers) -> None:
    settings = peers.settings(max_body_bytes=10_000)
    async with running(build(settings)) as server, client_of(server) as http:
        kind = {"content-type": "application/json"}
        announced = await http.post(SEARCH, content=b" " * 10_001, headers=kind)
        assert error_of(announced) == (413, "INVALID_ARGUMENT", "LIMIT_EXCEEDED")
        streamed = await http.post(SEARCH, content=chunks(20_000), headers=kind)
        assert error_of(streamed) == (413, "INVALID_ARGUMENT", "LIMIT_EXCEEDED")
        exact = json.dumps(QUERY).encode().ljust(10_000)
        assert (await http.post(SEARCH, content=exact, headers=kind)).status_code == 200
        assert (await http.get("/v1/collections")).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_announced_as_json(http: httpx2.AsyncClient, kind: str) -> None:
    body = json.dumps(QUERY).encode()
    reply = await http.post(SEARCH, content=body, headers={"content-type": kind})
    assert error_of(reply) == (415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA")


async def test_pages_of_other_sites_may_not_write(
    http: httpx2.AsyncClient, gateway: HttpServer, peers: Peers
) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        reply = await http.post(SEARCH, json=QUERY, headers={"origin": origin})
        assert error_of(reply)[:2] == (403, "PERMISSION_DENIED")
    assert not peers.search.headers
    own = {"origin": f"http://127.0.0.1:{gateway.port}"}
    assert (await http.post(SEARCH, json=QUERY, headers=own)).status_code == 200


async def test_a_gateway_on_loopback_answers_to_its_own_names_only(
    http: httpx2.AsyncClient, peers: Peers
) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        reply = await http.get("/v1/collections", headers={"host": host})
        assert reply.status_code in {400, 403}
    assert not peers.search.headers
    for host in ("localhost", "LOCALHOST:1", "[::1]:80"):
        reply = await http.get("/v1/collections", headers={"host": host})
        assert reply.status_code == 200


async def test_another_name_can_be_allowed(peers: Peers) -> None:
    settings = peers.settings(allowed_hosts=["api.example"])
    async with running(build(settings)) as server, client_of(server) as http:
        reply = await http.get("/v1/collections", headers={"host": "api.example"})
        assert reply.status_code == 200


async def test_more_requests_than_are_served_at_once(peers: Peers) -> None:
    settings = peers.settings(server=server_settings(max_concurrent_rpcs=1))
    async with running(build(settings)) as server, client_of(server) as http:
        first = asyncio.create_task(http.get("/v1/jobs/quiet:watch"))
        await asyncio.wait_for(peers.ingest.waiting.wait(), 10)
        reply = await http.get("/v1/collections")
        assert error_of(reply) == (429, "RESOURCE_EXHAUSTED", "OVERLOADED")
        assert reply.headers["retry-after"] == "1"
        assert (await http.get("/livez")).status_code == 200
        first.cancel()


async def test_a_gateway_with_tokens_asks_for_one(peers: Peers, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text("- token: 0123456789abcdef\n  scopes: [read]\n")
    settings = peers.settings(server=server_settings(auth=AuthSettings(tokens_file=tokens)))
    async with running(build(settings)) as server, client_of(server) as http:
        reply = await http.get("/v1/collections")
        assert error_of(reply) == (401, "UNAUTHENTICATED", "INVALID_TOKEN")
        assert reply.headers["www-authenticate"] == "Bearer"
        header = {"authorization": "Bearer 0123456789abcdef"}
        assert (await http.get("/v1/collections", headers=header)).status_code == 200
        for path in ("/v1/servers/search", "/livez", "/docs"):
            assert (await http.get(path)).status_code == 200


async def test_probes(http: httpx2.AsyncClient, peers: Peers) -> None:
    for path in ("/livez", "/healthz"):
        assert (await http.get(path)).json() == {"status": "SERVING"}
    assert (await http.get("/readyz")).json()["status"] == "SERVING"
    peers.servers["encoder"].health.set_serving("", serving=False)
    partly = await http.get("/readyz")
    assert partly.status_code == 200
    assert partly.json()["services"]["encoder"] == "NOT_SERVING"
    for server in peers.servers.values():
        server.health.set_serving("", serving=False)
    reply = await http.get("/readyz")
    assert reply.status_code == 503
    assert set(reply.json()["services"].values()) == {"NOT_SERVING"}
    assert (await http.get("/livez")).status_code == 200


async def test_a_gateway_does_not_wait_for_ever_for_all(peers: Peers) -> None:
    settings = peers.settings(search={"address": "127.0.0.1:1"}, start_patience=0.001)
    async with running(build(settings)) as server, client_of(server) as http:
        assert (await http.get("/readyz")).status_code == 200


async def test_metrics(peers: Peers) -> None:
    settings = peers.settings(server=server_settings(metrics_port=0))
    async with running(build(settings)) as server, client_of(server) as http:
        await http.get("/v1/collections/a")
        await http.get("/v1/collections/b")
        await http.get("/nothing")
        text = (await http.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text
    route = 'method="GET",route="/v1/{name=collections/*}",status="200"'
    assert f"http_server_requests_total{{{route}}} 2.0" in text
    assert 'route="other",status="404"} 1.0' in text
    assert "http_server_in_flight 0.0" in text


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_needs_no_other_site(http: httpx2.AsyncClient, page: str) -> None:
    reply = await http.get(page)
    assert reply.status_code == 200
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "://" not in reply.text
    links = re.findall(r'(?:src|href|spec-url)="(/[^"]+)"', reply.text)
    assert links
    for link in links:
        found = await http.get(link)
        assert found.status_code == 200, link
        assert found.headers["x-content-type-options"] == "nosniff"


async def test_the_document_is_served(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert "/v1/collections/{collection}:search" in document["paths"]


def test_open_doors_are_refused() -> None:
    with pytest.raises(ValidationError, match="reachable from other machines"):
        GatewaySettings.model_validate({"server": {"host": "0.0.0.0"}})  # noqa: S104 - refused
    with pytest.raises(ValidationError, match="token_file must not be set"):
        GatewaySettings.model_validate({"search": {"address": "a:1", "token_file": "/x"}})


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_GATEWAY__SERVER__METRICS_PORT", "9104")
    monkeypatch.setenv("LOOKALIKE_GATEWAY__SEARCH__ADDRESS", "dns:///search:50052")
    monkeypatch.setenv("LOOKALIKE_GATEWAY__MAX_BODY_BYTES", "1MiB")
    settings = GatewaySettings()
    assert (settings.server.port, settings.server.metrics_port) == (8080, 9104)
    assert settings.search.address == "dns:///search:50052"
    assert settings.max_body_bytes == 1024 * 1024
