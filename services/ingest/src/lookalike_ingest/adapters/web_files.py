"""Files on the web, by HTTP(S), below the addresses that the operator allows.

A caller's URL must lie under an allowed prefix, and so must every place it is redirected to. Behind
a name may stand any address, another one each time it is asked: so the address itself is checked,
at the moment a socket is made for it, and nothing but public ones pass.
"""

import asyncio
import errno
import ipaddress
import re
import socket
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import uuid4

import aiohttp
from yarl import URL

from lookalike_common.errors import (
    InternalError,
    InvalidArgumentError,
    LimitExceededError,
    LocationNotAllowedError,
    NotFoundError,
    SourceChangedError,
)
from lookalike_ingest.places import RemotePlace, WebPlace
from lookalike_ingest.sources.found import Found

T = TypeVar("T")
_SCHEMES = ("http://", "https://")
_MAX_REDIRECTS = 5
_TRIES = 3
_PIECE_BYTES = 1 << 20
_HIDDEN = re.compile(r"%2e%2e|%2f|%5c|%00|\\", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_NOT_PUBLIC = "this name leads to an address that is not public"
_UNVERIFIED = "?"
"""How an etag begins that was made up here, where the server has none."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED = frozenset({401, 402, 403, 407, 451})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class WebAccess:
    """One prefix that jobs may read."""

    prefix: str
    """`https://host/path/`."""
    private_networks: bool = False
    """Whether it may lie at an address that is not public."""


@dataclass(frozen=True, slots=True)
class WebLimits:
    """How patient and how trusting the client is."""

    connect: timedelta = timedelta(seconds=10)
    read: timedelta = timedelta(seconds=30)
    """Without a byte."""
    total: timedelta = timedelta(hours=1)
    """For one file."""
    max_bytes: int = 16 << 30
    retry_delay: timedelta = timedelta(seconds=0.5)
    """Before the second try; doubled before the third."""


class WebFiles:
    """`RemoteFiles` on the web."""

    def __init__(self, accesses: Sequence[WebAccess], limits: WebLimits | None = None) -> None:
        self._accesses = [(_parse(each.prefix.rstrip("/") + "/"), each) for each in accesses]
        self._limits = limits or WebLimits()

    def serves(self, uri: str) -> bool:
        """Tell whether URIs of this kind are read here, allowed or not."""
        return uri.lower().startswith(_SCHEMES)

    def place_of(self, uri: str) -> WebPlace:
        """Return the place of a URL, without asking whether anything is there."""
        url = _parse(uri)
        self._access(url)
        if url.raw_path.endswith("/"):
            raise InvalidArgumentError("an address on the web is one file, and cannot be listed")
        return WebPlace(uri, "", -1)

    def walk(self, uri: str) -> Iterator[Found]:
        """Refuse: there are no folders on the web."""
        self.place_of(uri)
        raise InvalidArgumentError("an address on the web is one file, and cannot be listed")

    def look(self, place: RemotePlace) -> WebPlace:
        """Return the place as it is now, with its etag and size (negative where it says none)."""
        url = _own(place).url
        with closing(_Loop()) as loop:
            return loop.run(self.trying(lambda: self._look(url)))

    def read(self, place: RemotePlace, length: int) -> Iterator[bytes]:
        """Yield a file's first bytes; goes on where it broke off, if the server can."""
        with closing(_Loop()) as loop:
            transfer = _Transfer(self, _own(place), length, self._limits.max_bytes)
            try:
                while piece := loop.run(self.trying(transfer.next)):
                    yield piece
            finally:
                loop.run(transfer.close())

    @asynccontextmanager
    async def opened(
        self, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for a URL, and go where it is redirected to, as far as that is allowed."""
        target = _parse(url)
        for _ in range(_MAX_REDIRECTS + 1):
            access = self._access(target)
            async with (
                self._session(access) as session,
                session.get(target, headers=headers, allow_redirects=False) as response,
            ):
                if response.status not in _REDIRECTS:
                    _check_status(response)
                    yield response
                    return
                where = URL(response.headers.get("Location", ""))
            target = _parse(str(target.join(where)))
        raise LocationNotAllowedError(f"more than {_MAX_REDIRECTS} redirects")

    def _access(self, url: URL) -> WebAccess:
        """Return what allows a URL. Raises LocationNotAllowedError."""
        for prefix, access in self._accesses:
            same = (url.scheme, url.host, url.port) == (prefix.scheme, prefix.host, prefix.port)
            if same and url.raw_path.startswith(prefix.raw_path):
                return access
        raise LocationNotAllowedError(
            "this address is not under an allowed prefix; an operator can add one to "
            "LOOKALIKE_INGEST__WEB__PREFIXES"
        )

    def _session(self, access: WebAccess) -> aiohttp.ClientSession:
        """Return a client for one request: no proxy, no cookies, no memory of names."""
        limits = self._limits
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                socket_factory=_open_socket if access.private_networks else _open_public_socket,
                use_dns_cache=False,
                force_close=True,
            ),
            timeout=aiohttp.ClientTimeout(
                total=limits.total.total_seconds(),
                sock_connect=limits.connect.total_seconds(),
                sock_read=limits.read.total_seconds(),
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "lookalike-ingest"},
            trust_env=False,
        )

    async def _look(self, url: str) -> WebPlace:
        async with self.opened(url, {"Range": "bytes=0-0"}) as response:
            size = response.content_length if response.content_length is not None else -1
            if response.status == HTTPStatus.PARTIAL_CONTENT:
                size = _whole_size(response)
            etag = response.headers.get("ETag") or response.headers.get("Last-Modified")
            return WebPlace(url, etag or f"{_UNVERIFIED}{uuid4().hex}", size)

    async def trying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try a few times. Raises SourceChangedError where the server does not do better.

        A job does not wait for one address among many; what failed can be retried.
        """
        delay = self._limits.retry_delay.total_seconds()
        for left in reversed(range(_TRIES)):
            try:
                return await attempt()
            except (aiohttp.ClientError, TimeoutError) as error:
                if isinstance(error, aiohttp.ClientConnectorError) and _NOT_PUBLIC in str(error):
                    raise LocationNotAllowedError(_NOT_PUBLIC) from error
                if not left:
                    raise SourceChangedError(
                        f"the server does not answer: {_short(error)}"
                    ) from error
            await asyncio.sleep(delay)
            delay *= 2
        raise InternalError("no try was made")


class _Transfer:
    """The bytes of one file, which goes on where a connection broke off, if the server can."""

    def __init__(self, files: WebFiles, place: WebPlace, length: int, max_bytes: int) -> None:
        self._files = files
        self._place = place
        self._length = length
        self._max_bytes = max_bytes
        self._position = 0
        self._stack = AsyncExitStack()
        self._response: aiohttp.ClientResponse | None = None

    async def next(self) -> bytes:
        """Return the next bytes, none at the end."""
        wanted = self._length - self._position if self._length >= 0 else _PIECE_BYTES
        if not wanted:
            return b""
        try:
            if self._response is None:
                self._response = await self._open()
            piece = await self._response.content.read(min(wanted, _PIECE_BYTES))
        except (aiohttp.ClientError, TimeoutError):
            await self.close()
            if self._position and not self._resumable:
                raise SourceChangedError("the connection broke off, and cannot go on") from None
            raise
        self._position += len(piece)
        if self._position > self._max_bytes:
            raise LimitExceededError(f"the file has more than {self._max_bytes} bytes")
        return piece

    async def close(self) -> None:
        """End the request."""
        self._response = None
        await self._stack.aclose()

    @property
    def _resumable(self) -> bool:
        return self._place.etag.startswith('"')  # only such an etag stands for the very bytes

    async def _open(self) -> aiohttp.ClientResponse:
        headers = {}
        if self._position or self._length >= 0:
            last = str(self._length - 1) if self._length > 0 else ""
            headers["Range"] = f"bytes={self._position}-{last}"
        if self._position:
            headers["If-Range"] = self._place.etag
        opened = self._files.opened(self._place.url, headers)
        try:
            response = await self._stack.enter_async_context(opened)
        except NotFoundError as error:
            raise SourceChangedError("the file is gone") from error
        etag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        known = self._place.etag
        if known and not known.startswith(_UNVERIFIED) and etag != known:
            raise SourceChangedError("the file changed since it was listed")
        if self._position and response.status != HTTPStatus.PARTIAL_CONTENT:
            raise SourceChangedError("the connection broke off, and cannot go on")
        return response


def is_public(address: str) -> bool:
    """Tell whether an IP address is one that anybody may ask, whatever it is wrapped in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if inner is None and (ip in _NAT64 or int(ip) >> 32 == 0):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _open_public_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    if not is_public(str(info[4][0])):
        raise OSError(errno.EACCES, _NOT_PUBLIC)
    return _open_socket(info)


def _open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol = info[:3]
    return socket.socket(family, kind, protocol)


def _parse(text: str) -> URL:
    """Parse as the client will send it. Raises InvalidArgumentError for what can be misread."""
    if _HIDDEN.search(text) or not text.isprintable() or " " in text:
        raise InvalidArgumentError("this address hides characters that are read in several ways")
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise InvalidArgumentError("this is no address on the web") from error
    if url.scheme not in {"http", "https"} or not url.host or not port:
        raise LocationNotAllowedError("only http:// and https:// can be read here")
    if url.user or url.password or url.fragment:
        raise InvalidArgumentError("an address has no user, password or fragment here")
    return url


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceChangedError("the server packs the file although it was not asked to")
        return
    if status in _PASSING:
        raise aiohttp.ClientResponseError(
            response.request_info, (), status=status, message=response.reason or ""
        )
    if status in _REFUSED:
        raise LocationNotAllowedError(f"the server refuses it with HTTP {status}")
    raise NotFoundError(f"the server answers HTTP {status}", resource_name=str(response.url))


def _whole_size(response: aiohttp.ClientResponse) -> int:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(match[2]) if match and match[2] != "*" else -1


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:200]


# Any: what a coroutine yields and receives is between it and the event loop.
class _Loop:
    """An event loop that runs a step of the work at a time, in whichever thread asks for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do one step."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """End."""
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def _own(place: RemotePlace) -> WebPlace:
    if not isinstance(place, WebPlace):
        raise InternalError("a place of another kind reached the web")
    return place
