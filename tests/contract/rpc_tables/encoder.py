"""EncoderService, and the ServerInfoService that every server has."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image

from lookalike.encoder.v1 import encoder_pb2
from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2, segment_pb2
from lookalike.type.v1 import server_info_service_pb2 as info_pb
from tests.contract.rpc_tables.rows import (
    Answers,
    RefusesItem,
    Row,
    World,
    invalid,
    mismatch,
    missing,
)

TEXT: Final = "encoders/minilm-l6-v2@1"
IMAGE: Final = "encoders/efficientnet-lite0@1"
Content = content_pb2.Content


def photo(seed: int = 1, file_format: str = "JPEG") -> bytes:
    """Return a picture of noise in large squares, the same for the same seed."""
    squares = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    picture = Image.fromarray(squares).resize((96, 96), Image.Resampling.NEAREST)
    buffer = BytesIO()
    picture.save(buffer, file_format)
    return buffer.getvalue()


def bomb() -> bytes:
    """Return a small PNG that declares 60,000 by 60,000 pixels."""
    content = bytearray(photo(file_format="PNG"))
    content[16:24] = (60_000).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


def encode(encoder: str, *contents: Content, **fields: Any) -> pb.EncodeRequest:
    items = [pb.EncodeItem(content=content) for content in contents]
    return pb.EncodeRequest(encoder=encoder, items=items, **fields)


def expecting_this(world: World) -> pb.EncodeRequest:
    picture = Content(image=photo())
    return encode(IMAGE, picture, expected_fingerprint=world.fingerprint)


def _is_unit(reply: pb.EncodeResponse, dimensions: int) -> bool:
    vectors = [each.item.vectors[0].dense.data for each in reply.results]
    lengths = [np.linalg.norm(np.frombuffer(each, "<f4")) for each in vectors]
    sizes = {len(each) for each in vectors}
    return sizes == {4 * dimensions} and np.allclose(lengths, 1, atol=1e-4)


ENCODERS: Final = [
    Row(
        "EncoderService.ListEncoders",
        "all",
        pb.ListEncodersRequest(),
        Answers(lambda reply: {IMAGE, TEXT} <= {each.name for each in reply.encoders}),
    ),
    Row(
        "EncoderService.ListEncoders",
        "a damaged page token",
        pb.ListEncodersRequest(page_token="nonsense"),
        invalid("page_token", "INVALID_PAGE_TOKEN"),
    ),
    Row(
        "EncoderService.ListEncoders",
        "a negative page size",
        pb.ListEncodersRequest(page_size=-1),
        invalid("page_size"),
    ),
    Row(
        "EncoderService.GetEncoder",
        "without a version",
        pb.GetEncoderRequest(name=IMAGE.removesuffix("@1")),
        Answers(
            lambda reply: (
                (reply.name, reply.dimensions, reply.state)
                == (IMAGE, 1280, encoder_pb2.Encoder.STATE_READY)
            )
        ),
    ),
    Row(
        "EncoderService.GetEncoder",
        "unknown",
        pb.GetEncoderRequest(name="encoders/none"),
        missing("encoders/none"),
    ),
    Row(
        "EncoderService.GetEncoder",
        "unknown version",
        pb.GetEncoderRequest(name="encoders/minilm-l6-v2@99"),
        missing("encoders/minilm-l6-v2@99"),
    ),
    Row(
        "EncoderService.GetEncoder",
        "no encoder's name",
        pb.GetEncoderRequest(name="minilm-l6-v2"),
        invalid("name"),
    ),
]

ENCODE: Final = [
    Row(
        "EncoderService.Encode",
        "texts",
        encode(TEXT, Content(text="a cat"), Content(text="a dog")),
        Answers(lambda reply: len(reply.results) == 2 and _is_unit(reply, 384)),
    ),
    Row(
        "EncoderService.Encode",
        "a picture, with the expected fingerprint",
        expecting_this,
        Answers(lambda reply: reply.encoder == IMAGE and _is_unit(reply, 1280)),
    ),
    Row(
        "EncoderService.Encode",
        "unknown encoder",
        encode("encoders/none", Content(text="a")),
        missing("encoders/none"),
    ),
    Row(
        "EncoderService.Encode",
        "no encoder",
        encode("", Content(text="a")),
        invalid("encoder"),
    ),
    Row("EncoderService.Encode", "no items", encode(TEXT), invalid("items")),
    Row(
        "EncoderService.Encode",
        "too many items",
        encode(TEXT, *[Content(text="a")] * 1025),
        invalid("items"),
    ),
    Row(
        "EncoderService.Encode",
        "no content",
        pb.EncodeRequest(encoder=TEXT, items=[pb.EncodeItem()]),
        invalid("items[0].content"),
    ),
    Row(
        "EncoderService.Encode",
        "0 bytes",
        encode(IMAGE, Content(image=b"")),
        invalid("items[0].content.image"),
    ),
    Row(
        "EncoderService.Encode",
        "another fingerprint",
        encode(TEXT, Content(text="a"), expected_fingerprint="f" * 64),
        mismatch("expected_fingerprint"),
    ),
    Row(
        "EncoderService.Encode",
        "no fingerprint at all",
        encode(TEXT, Content(text="a"), expected_fingerprint="abc"),
        invalid("expected_fingerprint"),
    ),
    Row(
        "EncoderService.Encode",
        "not an image",
        encode(IMAGE, Content(image=b"this is no picture")),
        RefusesItem("UNSUPPORTED_MEDIA", "items[0].content"),
    ),
    Row(
        "EncoderService.Encode",
        "a truncated image after a good one",
        encode(IMAGE, Content(image=photo()), Content(image=photo()[:-500])),
        RefusesItem("INVALID_CONTENT", "items[1].content", index=1),
    ),
    Row(
        "EncoderService.Encode",
        "a bomb by its declared pixels",
        encode(IMAGE, Content(image=bomb())),
        RefusesItem("LIMIT_EXCEEDED", "items[0].content"),
    ),
    Row(
        "EncoderService.Encode",
        "a text for pictures' encoder",
        encode(IMAGE, Content(text="a")),
        RefusesItem("WRONG_MODALITY", "items[0].content"),
    ),
    Row(
        "EncoderService.Encode",
        "an asset",
        encode(IMAGE, Content(asset=f"assets/{'0' * 64}")),
        RefusesItem("UNSUPPORTED_MEDIA", "items[0].content.asset"),
    ),
    Row(
        "EncoderService.Encode",
        "a region outside the picture",
        pb.EncodeRequest(
            encoder=IMAGE,
            items=[
                pb.EncodeItem(
                    content=Content(image=photo()),
                    regions=[segment_pb2.BoundingBox(x=9000, width=1, height=1)],
                )
            ],
        ),
        RefusesItem("INVALID_CONTENT", "items[0].regions[0]"),
    ),
    Row(
        "EncoderService.StreamEncode",
        "the name once",
        [encode(TEXT, Content(text="a")), encode("", Content(text="b"), Content(text="c"))],
        Answers(lambda replies: [len(each.results) for each in replies] == [1, 2]),
    ),
    Row("EncoderService.StreamEncode", "nothing", [], Answers(lambda replies: not replies)),
    Row(
        "EncoderService.StreamEncode",
        "unknown encoder",
        [encode(TEXT, Content(text="a")), encode("encoders/none", Content(text="a"))],
        missing("encoders/none"),
    ),
    Row(
        "EncoderService.StreamEncode",
        "no name at first",
        [encode("", Content(text="a"))],
        invalid("encoder"),
    ),
    Row(
        "EncoderService.StreamEncode",
        "another fingerprint",
        [encode(TEXT, Content(text="a"), expected_fingerprint="f" * 64)],
        mismatch("expected_fingerprint"),
    ),
]

_ASK_INFO: Final = "ServerInfoService.GetServerInfo"


def _info(server: str, other: str, limit: str) -> list[Row]:
    def described(reply: info_pb.ServerInfo) -> bool:
        return reply.name == f"servers/{server}" and reply.limits[limit] > 0

    def asked(name: str) -> info_pb.GetServerInfoRequest:
        return info_pb.GetServerInfoRequest(name=name)

    return [
        Row(_ASK_INFO, f"{server} without a name", asked(""), Answers(described), server),
        Row(_ASK_INFO, server, asked(f"servers/{server}"), Answers(described), server),
        Row(
            _ASK_INFO,
            f"{other} at {server}",
            asked(f"servers/{other}"),
            missing(f"servers/{other}"),
            server,
        ),
        Row(_ASK_INFO, f"no server, at {server}", asked("servers/x"), invalid("name"), server),
    ]


INFO: Final = [
    *_info("encoder", "search", "max_batch_items"),
    *_info("search", "ingest", "max_message_bytes"),
    *_info("ingest", "gateway", "max_asset_bytes"),
]

ROWS: Final = [*ENCODERS, *ENCODE, *INFO]
