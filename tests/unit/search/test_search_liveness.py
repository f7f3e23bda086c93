"""Who is alive: a server whose only worker is busy is, one that stands still is not."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import trustme

from lookalike_common.testing import free_port
from lookalike_search.adapters.milvus.liveness import is_alive
from lookalike_search.adapters.milvus.target import TlsFiles

_HOST = "127.0.0.1"
_SHORT = timedelta(seconds=0.3)
_LONG = timedelta(seconds=20)


@contextmanager
def grpc_server(credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """A server with one worker, which is busy with the first call until the end."""
    done = threading.Event()

    def wait(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        done.wait()
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(wait)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"M": handler}),))
    address = f"{_HOST}:0"
    port = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    server.start()
    try:
        yield port
    finally:
        done.set()
        server.stop(None).wait()


async def test_a_busy_server_is_alive() -> None:
    with grpc_server() as port:
        async with grpc.aio.insecure_channel(f"{_HOST}:{port}") as channel:
            await channel.channel_ready()
            method = channel.unary_unary(
                "/s/M", request_serializer=bytes, response_deserializer=bytes
            )
            calls = [method(b"") for _ in range(3)]
            assert await is_alive(_HOST, port, None, _LONG)
            for each in calls:
                each.cancel()


async def test_a_server_that_stands_still_is_not() -> None:
    with socket.create_server((_HOST, 0)) as listener:  # the kernel connects, nobody answers
        assert not await is_alive(_HOST, listener.getsockname()[1], None, _SHORT)


async def test_nobody_is_not_alive() -> None:
    assert not await is_alive(_HOST, free_port(), None, _LONG)


async def test_over_tls(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert(_HOST)
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())]
    )
    with grpc_server(credentials) as port:
        assert await is_alive(_HOST, port, _context(authority, tmp_path / "ca.pem"), _LONG)
        assert not await is_alive(_HOST, port, _context(other, tmp_path / "other.pem"), _LONG)
        assert not await is_alive(_HOST, port, None, _SHORT)


def _context(authority: trustme.CA, path: Path) -> ssl.SSLContext:
    authority.cert_pem.write_to_path(str(path))
    return TlsFiles(authority=path).context()
