"""Makes calls: adds deadline, request id and token, and raises this library's errors."""

import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

import grpc

from lookalike_client._names import REQUEST_ID_KEY
from lookalike_client.errors import LookalikeError

Request = TypeVar("Request")
Reply = TypeVar("Reply")
_Metadata = tuple[tuple[str, str], ...]


class Caller:
    """Makes calls with the same deadline and the same token."""

    def __init__(self, *, timeout: timedelta, token: str | None = None) -> None:
        self._timeout = timeout.total_seconds()
        self._token = token

    def unary(
        self, method: "grpc.UnaryUnaryMultiCallable[Request, Reply]", request: Request
    ) -> Reply:
        """Send one request, return its reply."""
        with _translated():
            return method(request, timeout=self._timeout, metadata=self._metadata())

    def server_stream(
        self, method: "grpc.UnaryStreamMultiCallable[Request, Reply]", request: Request
    ) -> Iterator[Reply]:
        """Send one request, yield its replies. It has no deadline; closing the iterator cancels."""
        call = method(request, metadata=self._metadata())
        try:
            with _translated():
                yield from call
        finally:
            call.cancel()

    def client_stream(
        self, method: "grpc.StreamUnaryMultiCallable[Request, Reply]", requests: Iterator[Request]
    ) -> Reply:
        """Send all requests, return the reply. It has no deadline: large uploads take long."""
        with _translated():
            return method(requests, metadata=self._metadata())

    def bidi_stream(
        self, method: "grpc.StreamStreamMultiCallable[Request, Reply]", requests: Iterator[Request]
    ) -> Generator[Reply, None, None]:
        """Send requests, yield replies. It has no deadline; closing the iterator cancels."""
        call = method(requests, metadata=self._metadata())
        try:
            with _translated():
                yield from call
        finally:
            call.cancel()

    def _metadata(self) -> _Metadata:
        metadata = ((REQUEST_ID_KEY, uuid.uuid4().hex),)
        if self._token is None:
            return metadata
        return (*metadata, ("authorization", f"Bearer {self._token}"))


class _Page(Protocol):
    """A reply that may not be all."""

    next_page_token: str


Page = TypeVar("Page", bound=_Page)


def pages(fetch: Callable[[str], Page]) -> Iterator[Page]:
    """Yield the pages that `fetch(page_token)` returns, from the first to the last."""
    token = ""
    while True:
        page = fetch(token)
        yield page
        if not (token := page.next_page_token):
            return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise LookalikeError.from_call(error) from error
