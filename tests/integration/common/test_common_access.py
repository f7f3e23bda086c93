"""Tokens, tenants, TLS and limits on real connections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.type.v1 import server_info_service_pb2 as info_pb2
from lookalike.type.v1 import server_info_service_pb2_grpc as info_grpc
from lookalike_common import errors
from lookalike_common.context import RequestContext, use_context
from lookalike_common.settings import AuthSettings, ClientTlsSettings, TlsSettings
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import loopback

if TYPE_CHECKING:
    from tests.integration.common.conftest import Probe, Start

TOKENS = """
- {token: reader-0123456789, tenant: acme, scopes: [read]}
- {token: ingest-0123456789, scopes: [write, service]}
"""


@pytest.fixture
def auth(tmp_path: Path) -> AuthSettings:
    path = tmp_path / "tokens.yaml"
    path.write_text(TOKENS)
    (tmp_path / "token").write_text("ingest-0123456789\n")
    return AuthSettings(tokens_file=path)


async def check_health(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    await stub.Check(health_pb2.HealthCheckRequest())


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def test_without_a_token_only_public_services_answer(
    start: Start, auth: AuthSettings
) -> None:
    async with start(auth=auth) as running:
        failure = await running.failure("unary")
        assert failure.code() is grpc.StatusCode.UNAUTHENTICATED
        assert type(error_from_rpc(failure)) is errors.UnauthenticatedError
        await check_health(running.channel)
        stub = info_grpc.ServerInfoServiceStub(running.channel)
        await stub.GetServerInfo(info_pb2.GetServerInfoRequest())


async def test_a_token_stands_for_its_tenant(
    start: Start, auth: AuthSettings, probe: Probe
) -> None:
    async with start(auth=auth) as running:
        await running.call("unary", metadata=bearer("reader-0123456789"))
        assert probe.contexts[0].tenant == "acme"
        assert probe.contexts[0].scopes == {"read"}


async def test_a_missing_scope_is_named(start: Start, auth: AuthSettings) -> None:
    async with start(auth=auth) as running:
        failure = await running.failure("client_stream", metadata=bearer("reader-0123456789"))
        error = error_from_rpc(failure)
        assert type(error) is errors.PermissionDeniedError
        assert error.metadata == {"scope": "write"}


async def test_a_service_acts_for_the_tenant_of_its_job(
    start: Start, auth: AuthSettings, probe: Probe, tmp_path: Path
) -> None:
    target = loopback(0).model_copy(update={"token_file": tmp_path / "token"})
    async with start(target, auth=auth) as running:
        with use_context(RequestContext(tenant="acme")):
            await running.call("client_stream")
        assert {each.tenant for each in probe.contexts} == {"acme"}


async def test_without_auth_nobody_chooses_a_tenant(start: Start, probe: Probe) -> None:
    async with start() as running:
        await running.call("unary", metadata=(("x-lookalike-tenant", "acme"),))
        assert probe.contexts[0].tenant == ""


async def test_calls_beyond_the_limit_are_refused(start: Start, probe: Probe) -> None:
    release = asyncio.Event()
    probe.act = release.wait  # type: ignore[assignment] # what it returns is of no interest
    async with start(max_concurrent_rpcs=1) as running:
        first = asyncio.create_task(running.call("unary"))
        await probe.called.wait()
        error = error_from_rpc(await running.failure("unary"))
        assert type(error) is errors.OverloadedError
        assert error.retry_after is not None
        await check_health(running.channel)
        release.set()
        assert await first == 1
        assert await running.call("unary") == 1


async def test_messages_have_a_largest_size(start: Start) -> None:
    async with start(max_message_bytes=1000) as running:
        stream = running.encoder.StreamEncode(iter([running.encode_request("x" * 2000)]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority's certificate and a pair of it, good for both sides."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    pair.private_key_pem.write_to_path(folder / "key.pem")
    for pem in pair.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    return folder


async def test_mutual_tls(start: Start, certificates: Path) -> None:
    authority = certificates / "ca.pem"
    certificate, key = certificates / "cert.pem", certificates / "key.pem"
    server = TlsSettings(certificate=certificate, key=key, client_ca=authority)
    known = ClientTlsSettings(ca=authority, certificate=certificate, key=key)
    async with start(loopback(0).model_copy(update={"tls": known}), tls=server) as running:
        assert await running.call("unary") == 1
    stranger = ClientTlsSettings(ca=authority)
    async with start(loopback(0).model_copy(update={"tls": stranger}), tls=server) as running:
        failure = await running.failure("unary", timeout=2)
        assert failure.code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }
