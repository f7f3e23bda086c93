"""Sends a file's bytes to the asset store, from where an earlier attempt broke off."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from lookalike.asset.v1 import asset_pb2, asset_service_pb2, asset_service_pb2_grpc
from lookalike_client._calls import Caller
from lookalike_client.errors import LookalikeError, PreconditionError, UnavailableError

_CHUNK_BYTES = 1024 * 1024
_ATTEMPTS = 5
_PAUSE = 0.5  # seconds before an upload that broke off goes on


class _Source(Protocol):
    """Bytes that can be read from any place. A stream that broke off may still be reading."""

    size: int

    def read(self, offset: int) -> bytes:
        """At most a chunk of bytes from the offset on; nothing at the end."""


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int) -> bytes:
        return self._data[offset : offset + _CHUNK_BYTES]


class _File:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, offset: int) -> bytes:
        return os.pread(self._descriptor, _CHUNK_BYTES, offset)


def upload(
    stub: asset_service_pb2_grpc.AssetServiceStub, caller: Caller, original: bytes | Path
) -> str:
    """Store the bytes unless they are there already; return `assets/{asset}`."""
    if isinstance(original, bytes):
        return _send(stub, caller, _Bytes(original))
    with original.open("rb") as file:
        return _send(stub, caller, _File(file.fileno()))


def _send(stub: asset_service_pb2_grpc.AssetServiceStub, caller: Caller, source: _Source) -> str:
    begin = asset_service_pb2.StartUploadRequest(size_bytes=source.size, sha256=_sha256(source))
    state = caller.unary(stub.StartUpload, begin)
    for attempt in range(1, _ATTEMPTS + 1):
        if state.asset:
            break
        try:
            state = caller.client_stream(stub.UploadChunk, _chunks(source, state))
        except (UnavailableError, PreconditionError) as error:
            if attempt == _ATTEMPTS or not _broke_off(error):
                raise
            time.sleep(_PAUSE)
            where = asset_service_pb2.GetUploadRequest(name=state.name)
            state = caller.unary(stub.GetUpload, where)
    return state.asset


def _broke_off(error: LookalikeError) -> bool:
    """Whether the upload can go on from another place."""
    return isinstance(error, UnavailableError) or error.reason == "OFFSET_MISMATCH"


def _sha256(source: _Source) -> str:
    total, offset = hashlib.sha256(), 0
    while data := source.read(offset):
        total.update(data)
        offset += len(data)
    return total.hexdigest()


def _chunks(
    source: _Source, state: asset_pb2.Upload
) -> Iterator[asset_service_pb2.UploadChunkRequest]:
    offset = state.committed_bytes
    while data := source.read(offset):
        yield asset_service_pb2.UploadChunkRequest(
            upload=state.name, write_offset=offset, data=data
        )
        offset += len(data)
