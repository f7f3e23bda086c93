"""Fixtures of all suites: the real programs that more than one of them needs.

`--milvus` chooses the Milvus under test: `lite` (the default), or `server`, the real 2.3.5, which
starts only under `tests.support.loopback_only`; then only tests that ask for `milvus_uri` or
`milvus_process` run. Or LOOKALIKE_TEST_MILVUS_URI names one that is there already.

`--database postgresql` lets ingest's tests keep their jobs in PostgreSQL instead of SQLite.

A test marked `feature("keyword")` runs where the conformance table says that this works; the
table's own test proves that it is refused elsewhere. `lite_only` and `server_only` are about one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lookalike_search.conformance import FEATURES, Verdict, expected
from tests.support.ingest_database import PreparedPostgres
from tests.support.milvus_lite import MilvusLite
from tests.support.milvus_process import MilvusProcess
from tests.support.milvus_server import MilvusServer
from tests.support.postgres_server import PostgresServer, started_postgres

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything loads ONNX Runtime

_ANY_MILVUS = {"milvus_uri", "milvus_process"}
_BACKENDS = {"lite": "milvus-lite", "server": "milvus-2.3"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--milvus", choices=("lite", "server"), default="lite")
    parser.addoption("--database", choices=("sqlite", "postgresql"), default="sqlite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the Milvus under test cannot do; for the server also what asks for none."""
    chosen = config.getoption("milvus")
    left_out = [each for each in items if not _belongs(each, chosen)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [each for each in items if each not in left_out]


def _belongs(item: pytest.Item, milvus: str) -> bool:
    names = [name for mark in item.iter_markers("feature") for name in mark.args]
    if unknown := set(names) - {each.name for each in FEATURES}:
        raise pytest.UsageError(f"{item.nodeid}: no feature {', '.join(unknown)}")
    if any(expected(_BACKENDS[milvus], each) is Verdict.REFUSED for each in names):
        return False
    if milvus == "lite":
        return item.get_closest_marker("server_only") is None
    asks = _ANY_MILVUS & set(getattr(item, "fixturenames", ()))
    only = item.get_closest_marker("server_only") is not None
    return only or (bool(asks) and item.get_closest_marker("lite_only") is None)


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusLite]:
    """A Milvus Lite server for tests that leave each other alone and never stop it."""
    with MilvusLite(tmp_path_factory.mktemp("milvus-lite")) as server:
        yield server


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """The same with the real server."""
    with MilvusServer(tmp_path_factory.mktemp("milvus-server")) as server:
        yield server


@pytest.fixture(scope="session")
def milvus_uri(request: pytest.FixtureRequest) -> str:
    """The Milvus under test; tests leave each other alone and never stop it."""
    given = os.environ.get("LOOKALIKE_TEST_MILVUS_URI")
    chosen = f"milvus_{request.config.getoption('milvus')}"
    return given or str(request.getfixturevalue(chosen).uri)


@pytest.fixture
def milvus_process(request: pytest.FixtureRequest, tmp_path: Path) -> MilvusProcess:
    """A Milvus of the test's own, not started; what stops and kills takes this."""
    kinds: dict[str, Callable[[Path], MilvusProcess]] = {"lite": MilvusLite, "server": MilvusServer}
    return kinds[request.config.getoption("milvus")](tmp_path / "milvus")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for tests that take a database of their own and never stop it."""
    with started_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def prepared_postgres(postgres: PostgresServer) -> PreparedPostgres:
    """Databases of that server on which ingest starts quickly."""
    return PreparedPostgres(postgres)


@pytest.fixture
def chosen_database(request: pytest.FixtureRequest) -> str | None:
    """The URL of a database of the test's own by `--database`; None for SQLite."""
    if request.config.getoption("database") == "sqlite":
        return None
    prepared: PreparedPostgres = request.getfixturevalue("prepared_postgres")
    return prepared.create_database()
