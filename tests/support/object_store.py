"""An S3 store in this process (moto), which can refuse credentials, single objects, or all work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import obstore
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from obstore.store import S3Store
from werkzeug.serving import make_server

BUCKET = "photos"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


class StoreServer:
    """The server's switches, and what it was asked."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.denied: str | None = None
        """Requests whose path contains it are refused; the empty text means all."""
        self.refusals: int | None = None
        """After so many refusals all is allowed again."""
        self.broken = False
        """Whether it answers nothing but errors of its own."""
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and range."""
        self.on_get: Callable[[str], None] | None = None
        """Told the path of an object before it is sent."""
        self.endpoint = ""

    # Any: the types of WSGI are those of werkzeug.
    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.requests.append((environ["REQUEST_METHOD"], path, environ.get("HTTP_RANGE", "")))
        if self.broken:
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b""]
        if self._refuses(path):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [_DENIED]
        if self.on_get is not None and environ["REQUEST_METHOD"] == "GET":
            self.on_get(path)
        return self._app(environ, start_response)

    def _refuses(self, path: str) -> bool:
        if self.denied is None or self.denied not in path:
            return False
        if self.refusals is not None:
            if self.refusals == 0:
                return False
            self.refusals -= 1
        return True

    @property
    def config(self) -> dict[str, str]:
        """What obstore needs to know."""
        return {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": "key",
            "secret_access_key": "secret",
        }

    def client(self) -> S3Store:
        """Return the test's own client."""
        config: Any = self.config
        return S3Store(BUCKET, config=config, client_options={"allow_http": True})

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Put objects into the bucket."""
        client = self.client()
        for key, data in objects.items():
            obstore.put(client, key, data, use_multipart=False)

    def delete(self, *keys: str) -> None:
        """Remove objects."""
        obstore.delete(self.client(), list(keys))


@contextmanager
def running_store() -> Iterator[StoreServer]:
    """Serve an empty bucket."""
    store = StoreServer()
    server = make_server("127.0.0.1", 0, store, threaded=True)
    store.endpoint = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, name="s3")
    thread.start()
    try:
        _make_bucket(store)
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _make_bucket(store: StoreServer) -> None:
    connection = HTTPConnection(store.endpoint.removeprefix("http://"))
    for method, path in (("POST", "/moto-api/reset"), ("PUT", f"/{BUCKET}")):
        connection.request(method, path)
        connection.getresponse().read()
    connection.close()
