"""A Milvus that asks for TLS certificates of both sides and for a user, and databases in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr, ValidationError
from pymilvus.grpc_gen import milvus_pb2

from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore, TlsFiles
from lookalike_search.app import examine_backend
from lookalike_search.conformance import FEATURES, Verdict
from lookalike_search.model import CollectionSettings, CollectionSpec, Metric, VectorFieldSpec
from lookalike_search.settings import MilvusSettings
from tests.support.milvus_server import MilvusServer, Security

pytestmark = pytest.mark.server_only
_ROOT = "root:Milvus"
_SOON = timedelta(seconds=60)


@dataclass(frozen=True)
class Closed:
    """The server, and what opens it."""

    uri: str
    files: TlsFiles
    stranger: TlsFiles
    """Knows the server, and has no certificate."""

    def settings(self, token: str = _ROOT) -> MilvusSettings:
        return MilvusSettings(
            uri=self.uri,
            token=SecretStr(token),
            ca_file=self.files.authority,
            cert_file=self.files.certificate,
            key_file=self.files.key,
            start_limit=_SOON,
        )


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder = tmp_path_factory.mktemp("closed")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("127.0.0.1", "search"):
        certificate = authority.issue_cert(name)
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    security = Security(
        users=True,
        certificate=folder / "127.0.0.1.pem",
        key=folder / "127.0.0.1.key",
        client_authority=folder / "ca.pem",
    )
    with MilvusServer(folder / "milvus", security=security) as server:
        yield Closed(
            server.uri,
            TlsFiles(
                authority=folder / "ca.pem",
                certificate=folder / "search.pem",
                key=folder / "search.key",
            ),
            TlsFiles(authority=folder / "ca.pem"),
        )


def spec(collection_id: str) -> CollectionSpec:
    return CollectionSpec(
        id=collection_id,
        uid="u",
        create_time=datetime.now(UTC),
        vector_fields=(VectorFieldSpec(name="vector", dimensions=2, metric=Metric.COSINE),),
    )


async def test_whoever_is_known_is_served(closed: Closed) -> None:
    some = [each for each in FEATURES if each.name in {"entities", "dense-cosine"}]
    found = await examine_backend(closed.settings(), some)
    assert found is not None
    assert [each.verdict for each in found[1]] == [Verdict.WORKS] * 2


@pytest.mark.parametrize("token", ["", "root:wrong", "nobody:Milvus"])
async def test_without_a_known_user_there_is_no_milvus(
    closed: Closed, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with MilvusStore(closed.uri, token=token, tls=closed.files) as store:
        await assert_eventually(lambda: "refuses this service" in caplog.text, 30)
        assert not store.available
    assert "wrong" not in caplog.text.replace("auth check failure", "")


async def test_without_a_certificate_there_is_no_milvus(
    closed: Closed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    for files in (closed.stranger, TlsFiles(authority=tmp_path / "other.pem"), TlsFiles()):
        async with MilvusStore(closed.uri, token=_ROOT, tls=files) as store:
            assert not await store.wait_until_available(timedelta(seconds=1))
    plain = closed.uri.replace("https", "http")
    async with MilvusStore(plain, token=_ROOT) as store:
        assert not await store.wait_until_available(timedelta(seconds=1))


async def test_missing_files_end_the_start(closed: Closed, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        async with MilvusStore(closed.uri, tls=TlsFiles(authority=tmp_path / "nothing.pem")):
            pass
    with pytest.raises(ValidationError, match="go together"):
        MilvusSettings(cert_file=tmp_path / "a.pem")


async def test_a_database_of_ones_own(closed: Closed) -> None:
    settings = CollectionSettings(revision=0, update_time=datetime.now(UTC))
    async with (
        MilvusStore(closed.uri, token=_ROOT, tls=closed.files, database="mine") as mine,
        MilvusStore(closed.uri, token=_ROOT, tls=closed.files) as default,
    ):
        for each in (mine, default):
            assert await each.wait_until_available(_SOON)
        assert await mine.list_ids("") == []
        for tenant in ("", "acme"):
            await mine.create(tenant, spec("things"), settings)
            assert await mine.list_ids(tenant) == ["things"]
            assert "things" not in await default.list_ids(tenant)
        answer = await default._connection.call("ListDatabases", milvus_pb2.ListDatabasesRequest())
        assert {"default", "mine", "mine_t_acme"} <= set(answer.db_names)
        assert "ll_t_acme" not in answer.db_names
