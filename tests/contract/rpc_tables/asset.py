"""AssetService."""

from __future__ import annotations

import hashlib
from typing import Final

from lookalike.asset.v1 import asset_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import Code
from tests.contract.rpc_tables.encoder import photo
from tests.contract.rpc_tables.rows import (
    Answers,
    Refuses,
    Row,
    World,
    invalid,
    missing,
)

KEPT: Final = photo(100)
"""Uploaded before the first row."""
DOOMED: Final = photo(101)
"""Uploaded before the first row, for the row that deletes."""
PLAIN_BYTES: Final = b"neither a picture nor a sound"
"""Uploaded before the first row, for a search that cannot use it."""
BEGUN: Final = b"0123456789"
"""Of this the first four bytes were uploaded."""
LIE: Final = b"other bytes"
"""An upload with another hash waits for them."""
NEW: Final = b"a new asset"
NOWHERE: Final = f"assets/{'0' * 64}"


def asset(data: bytes) -> str:
    return f"assets/{digest(data)}"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def start(data: bytes) -> pb.StartUploadRequest:
    return pb.StartUploadRequest(size_bytes=len(data), sha256=digest(data))


def chunk(world: World, offset: int, data: bytes) -> list[pb.UploadChunkRequest]:
    return [pb.UploadChunkRequest(upload=world.upload, write_offset=offset, data=data)]


def read(data: bytes, offset: int = 0, limit: int = 0) -> pb.ReadAssetRequest:
    return pb.ReadAssetRequest(name=asset(data), read_offset=offset, read_limit=limit)


def _read_is(expected: bytes) -> Answers:
    return Answers(
        lambda replies: (
            b"".join(each.data for each in replies) == expected
            and replies[0].asset.name == asset(KEPT)
        )
    )


UPLOADS: Final = [
    Row(
        "AssetService.StartUpload",
        "new bytes",
        start(NEW),
        Answers(lambda reply: (reply.size_bytes, reply.committed_bytes) == (len(NEW), 0)),
    ),
    Row(
        "AssetService.StartUpload",
        "bytes that are there",
        start(KEPT),
        Answers(lambda reply: reply.asset == asset(KEPT)),
    ),
    Row(
        "AssetService.StartUpload",
        "nothing",
        pb.StartUploadRequest(size_bytes=0, sha256=digest(b"")),
        invalid("size_bytes"),
    ),
    Row(
        "AssetService.StartUpload",
        "too much",
        pb.StartUploadRequest(size_bytes=1 << 50, sha256="0" * 64),
        invalid("size_bytes", "LIMIT_EXCEEDED"),
    ),
    Row(
        "AssetService.StartUpload",
        "no hash",
        pb.StartUploadRequest(size_bytes=1, sha256="abc"),
        invalid("sha256"),
    ),
    Row(
        "AssetService.UploadChunk",
        "where it stands, without bytes",
        lambda world: chunk(world, 4, b""),
        Answers(lambda reply: (reply.committed_bytes, reply.asset) == (4, "")),
    ),
    Row(
        "AssetService.UploadChunk",
        "wrong offset",
        lambda world: chunk(world, 7, BEGUN[7:]),
        Refuses(Code.FAILED_PRECONDITION, "OFFSET_MISMATCH", "write_offset"),
    ),
    Row(
        "AssetService.UploadChunk",
        "more than announced",
        lambda world: chunk(world, 4, BEGUN[4:] + b"more"),
        invalid("data", "HASH_MISMATCH"),
    ),
    Row(
        "AssetService.UploadChunk",
        "other bytes than announced",
        lambda world: [pb.UploadChunkRequest(upload=world.lying_upload, data=LIE)],
        invalid("", "HASH_MISMATCH"),
    ),
    Row(
        "AssetService.UploadChunk",
        "unknown upload",
        [pb.UploadChunkRequest(upload="uploads/none", data=b"x")],
        missing("uploads/none"),
    ),
    Row("AssetService.UploadChunk", "no upload", [], invalid("upload")),
    Row(
        "AssetService.GetUpload",
        "begun",
        lambda world: pb.GetUploadRequest(name=world.upload),
        Answers(lambda reply: (reply.committed_bytes, reply.size_bytes) == (4, len(BEGUN))),
    ),
    Row(
        "AssetService.GetUpload",
        "unknown",
        pb.GetUploadRequest(name="uploads/none"),
        missing("uploads/none"),
    ),
]

ASSETS: Final = [
    Row(
        "AssetService.GetAsset",
        "kept",
        pb.GetAssetRequest(name=asset(KEPT)),
        Answers(
            lambda reply: (
                (reply.media_type, reply.modality, reply.size_bytes)
                == ("image/jpeg", content_pb2.MODALITY_IMAGE, len(KEPT))
            )
        ),
    ),
    Row("AssetService.GetAsset", "unknown", pb.GetAssetRequest(name=NOWHERE), missing(NOWHERE)),
    Row(
        "AssetService.GetAsset",
        "a path",
        pb.GetAssetRequest(name="assets/../../etc/passwd"),
        invalid("name"),
    ),
    Row("AssetService.ReadAsset", "all", read(KEPT), _read_is(KEPT)),
    Row("AssetService.ReadAsset", "a range", read(KEPT, 5, 10), _read_is(KEPT[5:15])),
    Row("AssetService.ReadAsset", "at the end", read(KEPT, len(KEPT)), _read_is(b"")),
    Row(
        "AssetService.ReadAsset",
        "beyond the end",
        read(KEPT, len(KEPT) + 1),
        Refuses(Code.OUT_OF_RANGE, "INVALID_FIELD", "read_offset"),
    ),
    Row("AssetService.ReadAsset", "before the start", read(KEPT, -1), invalid("read_offset")),
    Row("AssetService.ReadAsset", "unknown", pb.ReadAssetRequest(name=NOWHERE), missing(NOWHERE)),
    Row(
        "AssetService.DeleteAsset",
        "kept",
        pb.DeleteAssetRequest(name=asset(DOOMED)),
        Answers(lambda reply: reply.ByteSize() == 0),
    ),
    Row(
        "AssetService.DeleteAsset", "unknown", pb.DeleteAssetRequest(name=NOWHERE), missing(NOWHERE)
    ),
]

ROWS: Final = [*UPLOADS, *ASSETS]
