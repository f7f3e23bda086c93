"""Sends a file's bytes to the asset store, from where an earlier attempt broke off."""

import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path

from lookalike.asset.v1 import asset_pb2, asset_service_pb2, asset_service_pb2_grpc
from lookalike_client._calls import Caller
from lookalike_client.errors import UnavailableError

_CHUNK_BYTES = 1024 * 1024
_ATTEMPTS = 5
_PAUSE = 0.5  # seconds before an upload that broke off goes on


def upload(
    stub: asset_service_pb2_grpc.AssetServiceStub, caller: Caller, original: bytes | Path
) -> str:
    """Store the bytes unless they are there already; return `assets/{asset}`."""
    with _opened(original) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        begin = asset_service_pb2.StartUploadRequest(size_bytes=file.tell(), sha256=sha256)
        state = caller.unary(stub.StartUpload, begin)
        for attempt in range(1, _ATTEMPTS + 1):
            if state.asset:
                break
            try:
                state = caller.client_stream(stub.UploadChunk, _chunks(file, state))
            except UnavailableError:
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(_PAUSE)
                where = asset_service_pb2.GetUploadRequest(name=state.name)
                state = caller.unary(stub.GetUpload, where)
        return state.asset


def _opened(original: bytes | Path) -> io.BufferedReader | io.BytesIO:
    return io.BytesIO(original) if isinstance(original, bytes) else original.open("rb")


def _chunks(
    file: io.BufferedReader | io.BytesIO, state: asset_pb2.Upload
) -> Iterator[asset_service_pb2.UploadChunkRequest]:
    offset = state.committed_bytes
    file.seek(offset)
    while data := file.read(_CHUNK_BYTES):
        yield asset_service_pb2.UploadChunkRequest(
            upload=state.name, write_offset=offset, data=data
        )
        offset += len(data)
