"""A small web server in a thread, with the manners of bad ones at a test's wish."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """One file, and how it is served."""

    data: bytes = b""
    etag: str = '"1"'
    status: int = 200
    redirect: str = ""
    sized: bool = True
    """Whether its length is told; without it, the connection's end is the file's."""
    ranges: bool = True
    break_after: int = -1
    """Breaks off once, after so many bytes."""
    encoding: str = ""


@dataclass
class Site:
    """The pages by path, and what was asked for."""

    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Path and range."""
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.site.requests.append((self.path, wanted))
        page = self.site.pages.get(self.path, Page(status=404))
        data, status = page.data, page.status
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        fresh = self.headers.get("If-Range", page.etag) == page.etag
        headers = {"ETag": page.etag} if page.etag else {}
        if match and page.ranges and fresh and status == 200 and not page.redirect:
            first, last = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        if page.redirect:
            headers["Location"], status, data = page.redirect, 302, b""
        if page.encoding:
            headers["Content-Encoding"] = page.encoding
        if page.sized:
            headers["Content-Length"] = str(len(data))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if 0 <= page.break_after < len(data):
            data, page.break_after = data[: page.break_after], -1
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_site() -> Iterator[Site]:
    """Serve an empty site."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, name="web")
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
