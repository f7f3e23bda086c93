"""The real suite: `lookalike up` with its five processes, photos, and the real grpcurl."""

import sys
from collections.abc import Callable, Iterator

import pytest

from lookalike_client import Client
from lookalike_client.demo import photos, suite
from tests.support.suite import MODELS, Ended, Suite, run
from tools.fetch_grpcurl import grpcurl as fetch_grpcurl


@pytest.fixture(scope="session")
def running_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    assert MODELS.is_dir(), "the models are not installed: run `make models`"
    home = tmp_path_factory.mktemp("suite")
    root = home / "files"
    samples = photos.samples(root / "photos")
    with suite.running(home / "data", root, MODELS) as running:
        yield Suite(running.ports, running.pid, samples)


@pytest.fixture(scope="session")
def client(running_suite: Suite) -> Iterator[Client]:
    with running_suite.client() as connected:
        yield connected


@pytest.fixture(scope="session")
def lookalike(running_suite: Suite) -> Callable[..., Ended]:
    """Runs the command on the suite."""
    addresses = {
        f"LOOKALIKE_{service.upper()}_ADDRESS": running_suite.address(service)
        for service in ("encoder", "search", "ingest", "gateway")
    }

    def lookalike(*arguments: str) -> Ended:
        return run(sys.executable, "-m", "lookalike_client", *arguments, **addresses)

    return lookalike


@pytest.fixture(scope="session")
def grpcurl(running_suite: Suite) -> Callable[..., Ended]:
    """Runs the real grpcurl on one of the services."""
    program = str(fetch_grpcurl())

    def grpcurl(service: str, *arguments: str, body: str = "") -> Ended:
        options = ("-d", "@") if body else ()
        address = running_suite.address(service)
        return run(program, "-plaintext", *options, address, *arguments, stdin=body)

    return grpcurl
