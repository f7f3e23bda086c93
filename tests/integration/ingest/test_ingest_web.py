"""Items, archives and tables on the web."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from lookalike.ingest.v1 import job_pb2
from lookalike_common.status import error_from_status
from lookalike_ingest.settings import IngestSettings, WebPrefixSettings, WebSettings
from tests.integration.ingest.conftest import Suite, caught, running_ingest
from tests.support.ingest_peers import COLLECTION, Peers
from tests.support.pictures import png
from tests.support.tars import make_tar
from tests.support.web_server import Page, Site, running_site


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as started:
        yield started


@pytest.fixture
async def suite(settings: IngestSettings, peers: Peers, site: Site) -> AsyncIterator[Suite]:
    prefix = WebPrefixSettings(prefix=f"{site.url}/open/", private_networks=True)
    settings = settings.model_copy(update={"web": WebSettings(prefixes=(prefix,))})
    async with running_ingest(settings, peers) as started:
        yield started


async def reasons(suite: Suite, job: job_pb2.Job) -> dict[str, tuple[str, str]]:
    """Return step and reason of each failure, by item."""
    return {
        failure.item: (failure.step, error_from_status(failure.error).reason)
        for failure in await suite.failures(job)
    }


async def test_files_and_archives(suite: Suite, site: Site) -> None:
    packed = gzip.compress(make_tar({"b.png": png(2), "c.png": png(3)}))
    site.pages |= {
        "/open/a.png?size=large": Page(png(1)),
        "/open/more.tgz": Page(packed, ranges=False, sized=False),
        "/open/moved.png": Page(redirect="/secret.png"),
        "/secret.png": Page(png(9)),
    }
    names = ("a.png?size=large", "more.tgz", "none.png", "moved.png")
    done = await suite.run_files(*(f"{site.url}/open/{name}" for name in names))
    assert set(suite.peers.items()) == {"a.png", "b.png", "c.png"}
    assert await reasons(suite, done) == {
        f"{site.url}/open/none.png": ("fetch", "RESOURCE_NOT_FOUND"),
        f"{site.url}/open/moved.png": ("fetch", "LOCATION_NOT_ALLOWED"),
    }


async def test_tables_of_addresses(suite: Suite, site: Site) -> None:
    rows = f"id,url\none,{site.url}/open/a.png\ntwo,b.png\nthree,{site.url}/secret.png\n"
    site.pages |= {
        "/open/list.csv": Page(rows.encode()),
        "/open/a.png": Page(png(1)),
        "/open/b.png": Page(png(2), status=500),
    }
    table = job_pb2.TableSource(
        uri=f"{site.url}/open/list.csv", columns={"item": "id", "uri": "url"}
    )
    job = job_pb2.Job(collection=COLLECTION, table=table)
    done = await suite.finish(await suite.create(job))
    assert await reasons(suite, done) == {
        "two": ("fetch", "SOURCE_CHANGED"),
        "three": ("fetch", "LOCATION_NOT_ALLOWED"),
    }
    assert set(suite.peers.items()) == {"one"}


async def test_addresses_that_are_not_allowed(suite: Suite, site: Site) -> None:
    for uri in ("https://example.com/a.png", f"{site.url}/secret.png"):
        with caught(grpc.StatusCode.INVALID_ARGUMENT, "LOCATION_NOT_ALLOWED", "job.files.uris[0]"):
            await suite.create_files(uri)
    assert site.requests == []
