"""Files on the web: which addresses are asked, and what servers may do."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lookalike_common.errors import (
    InvalidArgumentError,
    LimitExceededError,
    LocationNotAllowedError,
    LookalikeError,
    NotFoundError,
    SourceChangedError,
)
from lookalike_ingest.adapters.web_files import WebAccess, WebFiles, WebLimits, is_public
from lookalike_ingest.sources.remote import Remotes, find_remote
from tests.support.containers import containers_in
from tests.support.web_server import Page, Site, running_site

LIMITS = WebLimits(retry_delay=timedelta(milliseconds=1), read=timedelta(seconds=5))


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as started:
        yield started


@pytest.fixture
def files(site: Site) -> WebFiles:
    return WebFiles([WebAccess(f"{site.url}/open/", private_networks=True)], LIMITS)


def fetch(files: WebFiles, url: str, length: int = -1) -> bytes:
    return b"".join(files.read(files.look(files.place_of(url)), length))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:93.184.216.34", True),
        ("127.0.0.1", False),
        ("127.255.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address, to which nothing is bound
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("::1", False),
        ("::", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::1", False),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1/open/a", LocationNotAllowedError),
        ("http://2130706433/open/a", LocationNotAllowedError),
        ("http://0x7f.1/open/a", LocationNotAllowedError),
        ("http://0177.0.0.1/open/a", LocationNotAllowedError),
        ("http://[::ffff:127.0.0.1]/open/a", LocationNotAllowedError),
        ("http://localhost:1/open/a", LocationNotAllowedError),
        ("https://HOST/open/a", LocationNotAllowedError),
        ("https://host/other/a", LocationNotAllowedError),
        ("https://host/openly/a", LocationNotAllowedError),
        ("https://host/open/../secret", LocationNotAllowedError),
        ("https://host/open/%2e%2e/secret", InvalidArgumentError),
        ("https://host/open/..%2fsecret", InvalidArgumentError),
        ("https://host/open/..\\secret", InvalidArgumentError),
        ("https://host/open/a%00b", InvalidArgumentError),
        ("https://host/open/a b", InvalidArgumentError),
        ("https://host/open/a\nb", InvalidArgumentError),
        ("https://host/open/a#b", InvalidArgumentError),
        ("https://me:secret@host/open/a", InvalidArgumentError),
        ("https://host@evil/open/a", InvalidArgumentError),
        ("https://host.evil/open/a", LocationNotAllowedError),
        ("https://host:444/open/a", LocationNotAllowedError),
        ("http://host/open/a", LocationNotAllowedError),
        ("https:///open/a", LookalikeError),
        ("https://host:x/open/a", InvalidArgumentError),
        ("https://host/open/", InvalidArgumentError),
    ],
)
def test_addresses_that_are_not_allowed(url: str, error: type[LookalikeError]) -> None:
    files = WebFiles([WebAccess("https://host/open")])
    assert files.serves(url)
    if url == "https://HOST/open/a":  # the same host
        assert files.place_of(url).url == url
        return
    with pytest.raises(error):
        files.place_of(url)


def test_a_name_that_leads_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that led outside when it was asked for first: the socket's own address counts."""
    port = int(site.url.rpartition(":")[2])
    site.pages["/open/a"] = Page(b"secret")
    files = WebFiles([WebAccess(f"http://rebinding.example:{port}/open/")], LIMITS)
    answers = ["93.184.216.34", "127.0.0.1"]
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **named: Any) -> Any:
        known = "127.0.0.1" if host == "rebinding.example" else host
        return real(known, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert resolve("rebinding.example", port)[0][4][0] == answers[1]
    with pytest.raises(LocationNotAllowedError, match="not public"):
        files.look(files.place_of(f"http://rebinding.example:{port}/open/a"))
    assert site.requests == []


@pytest.mark.parametrize(
    "target",
    [
        "/secret",
        "/open/../secret",
        "//127.0.0.1/open/a",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost/open/a",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
    ],
)
def test_redirects_lead_nowhere_else(site: Site, files: WebFiles, target: str) -> None:
    site.pages["/open/a"] = Page(redirect=target)
    site.pages["/secret"] = Page(b"secret")
    with pytest.raises(LocationNotAllowedError):
        files.look(files.place_of(f"{site.url}/open/a"))
    assert {path for path, _ in site.requests} == {"/open/a"}


def test_redirects_that_are_allowed(site: Site, files: WebFiles) -> None:
    site.pages["/open/a"] = Page(redirect="b/c")
    site.pages["/open/b/c"] = Page(redirect=f"{site.url}/open/d?x=1")
    site.pages["/open/d?x=1"] = Page(b"data")
    assert fetch(files, f"{site.url}/open/a") == b"data"


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_servers_that_tell_little(site: Site, files: WebFiles, ranges: bool, sized: bool) -> None:
    data = os.urandom(3_000_000)
    site.pages["/open/a.bin"] = Page(data, ranges=ranges, sized=sized, etag="")
    url = f"{site.url}/open/a.bin"
    place = files.look(files.place_of(url))
    assert place.size == (len(data) if ranges or sized else -1)
    assert b"".join(files.read(place, -1)) == data
    assert b"".join(files.read(place, 10)) == data[:10]
    assert find_remote(files, url + "").key == "a.bin"


def test_a_connection_that_breaks_off_goes_on(site: Site, files: WebFiles) -> None:
    data = os.urandom(2_000_000)
    page = site.pages["/open/a"] = Page(data)
    place = files.look(files.place_of(f"{site.url}/open/a"))
    page.break_after = 700_000
    assert b"".join(files.read(place, -1)) == data
    assert len([each for each in site.requests if each[1].startswith("bytes=")]) == 2
    page.ranges, page.break_after = False, 700_000
    with pytest.raises(SourceChangedError, match="broke off"):
        b"".join(files.read(place, -1))


def test_files_that_change_or_vanish(site: Site, files: WebFiles) -> None:
    page = site.pages["/open/a"] = Page(b"data")
    place = files.look(files.place_of(f"{site.url}/open/a"))
    page.etag = '"2"'
    with pytest.raises(SourceChangedError, match="changed"):
        b"".join(files.read(place, -1))
    del site.pages["/open/a"]
    with pytest.raises(SourceChangedError, match="gone"):
        b"".join(files.read(place, -1))
    with pytest.raises(NotFoundError):
        files.look(place)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (Page(status=401), LocationNotAllowedError),
        (Page(status=403), LocationNotAllowedError),
        (Page(status=410), NotFoundError),
        (Page(status=503), SourceChangedError),
        (Page(b"x", encoding="gzip"), SourceChangedError),
        (Page(redirect="a"), LocationNotAllowedError),
    ],
)
def test_answers_that_are_no_file(
    site: Site, files: WebFiles, page: Page, error: type[LookalikeError]
) -> None:
    site.pages["/open/a"] = page
    with pytest.raises(error):
        files.look(files.place_of(f"{site.url}/open/a"))


def test_a_server_that_is_not_there(files: WebFiles, site: Site) -> None:
    url = f"{site.url}/open/a"
    gone = WebFiles([WebAccess("http://127.0.0.1:1/", private_networks=True)], LIMITS)
    with pytest.raises(SourceChangedError, match="does not answer"):
        gone.look(gone.place_of("http://127.0.0.1:1/a"))
    assert files.place_of(url).size == -1


def test_more_than_the_cache_holds(site: Site, tmp_path: Path) -> None:
    """Also where the server does not say how much it sends."""
    site.pages["/open/a"] = Page(bytes(3_000_000), sized=False, ranges=False)
    access = WebAccess(f"{site.url}/open/", private_networks=True)
    files = WebFiles([access], WebLimits(max_bytes=2_000_000))
    with (
        containers_in(tmp_path, remotes=Remotes({"web": files})) as containers,
        pytest.raises(LimitExceededError),
    ):
        containers.open("", files.place_of(f"{site.url}/open/a"))
