"""Bad and odd input over gRPC: it is refused at its place or handled as documented, and never
harms its neighbours."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageOps
from skimage import data

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.encoder.v1 import encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import Code
from lookalike_common.status import error_from_rpc, error_from_status

Stub = encoder_service_pb2_grpc.EncoderServiceStub
Content = content_pb2.Content
RATE = 16_000


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(data, name)()).resize((300, 200))


PHOTO = photo("chelsea")


def file_of(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def tone(seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * 440 * time) * np.exp(-3 * time) / 2).astype(np.float32)


def wav(samples: NDArray[np.float32], rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate, subtype=subtype, format="WAV")
    return buffer.getvalue()


def bomb() -> bytes:
    """Make a small PNG that declares 60,000 by 60,000 pixels."""
    content = bytearray(file_of(PHOTO))
    content[16:24] = (60_000).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


def lying_down() -> bytes:
    """Make a JPEG on its side whose EXIF data say so."""
    exif = Image.Exif()
    exif[0x112] = 6
    return file_of(PHOTO.rotate(90, expand=True), "JPEG", quality=95, exif=exif.tobytes())


def half_transparent() -> Image.Image:
    image = PHOTO.copy()
    image.putalpha(100)
    return image


def on_white(image: Image.Image) -> bytes:
    white = Image.new("RGBA", image.size, "white")
    return file_of(Image.alpha_composite(white, image).convert("RGB"))


def animated() -> bytes:
    return file_of(PHOTO, "GIF", save_all=True, append_images=[photo("coffee")])


GOOD = {
    "minilm-l6-v2": Content(text="a cat"),
    "efficientnet-lite0": Content(image=file_of(PHOTO)),
    "phash-256": Content(image=file_of(PHOTO)),
    "speech-embedding": Content(audio=wav(tone(1))),
    "morgan-2048": Content(smiles="CCO"),
    "dna-kmer6": Content(sequence="ACGTTGCAACGGT"),
    "conse": Content(text="a cat"),
}
MIB = 1 << 20
INVALID, TOO_MUCH, UNREADABLE = "INVALID_CONTENT", "LIMIT_EXCEEDED", "UNSUPPORTED_MEDIA"
REFUSED = {
    "minilm-l6-v2": {
        "oversize": (Content(text="x" * (MIB + 1)), TOO_MUCH),
        "blank": (Content(text=" \n\t"), INVALID),
        "NUL bytes alone": (Content(text="\0\0"), INVALID),
        "asset": (Content(asset=f"assets/{'0' * 64}"), UNREADABLE),
    },
    "efficientnet-lite0": {
        "oversize": (Content(image=bytes(32 * MIB + 1)), TOO_MUCH),
        "not an image": (Content(image=b"hello" * 50), UNREADABLE),
        "NUL bytes": (Content(image=bytes(100)), UNREADABLE),
        "truncated JPEG": (Content(image=file_of(PHOTO, "JPEG")[:-500]), INVALID),
        "bomb": (Content(image=bomb()), TOO_MUCH),
    },
    "speech-embedding": {
        "oversize": (Content(audio=b"RIFF" + bytes(32 * MIB)), TOO_MUCH),
        "not a sound": (Content(audio=b"hello" * 50), UNREADABLE),
        "silent": (Content(audio=wav(np.zeros(RATE, np.float32))), INVALID),
        "0.05 s": (Content(audio=wav(tone(0.05))), TOO_MUCH),
        "61 s": (Content(audio=wav(tone(61))), TOO_MUCH),
        "truncated": (Content(audio=wav(tone(1))[:-500]), INVALID),
    },
    "morgan-2048": {
        "oversize": (Content(smiles="C" * 4097), TOO_MUCH),
        "syntax": (Content(smiles="C(("), INVALID),
        "valence": (Content(smiles="C(C)(C)(C)(C)C"), INVALID),
        "NUL byte": (Content(smiles="C\0C"), INVALID),
    },
    "dna-kmer6": {
        "oversize": (Content(sequence="A" * 10_000_001), TOO_MUCH),
        "only N": (Content(sequence="N" * 50), INVALID),
        "other letters": (Content(sequence="ACGTXACGT"), INVALID),
        "NUL byte": (Content(sequence="ACGT\0ACGT"), INVALID),
    },
}
HANDLED = {
    "EXIF-rotated": (
        "efficientnet-lite0",
        Content(image=lying_down()),
        Content(image=file_of(ImageOps.exif_transpose(Image.open(BytesIO(lying_down()))))),
    ),
    "CMYK": (
        "efficientnet-lite0",
        Content(image=file_of(PHOTO.convert("CMYK"), "JPEG", quality=95)),
        Content(image=file_of(PHOTO)),
    ),
    "16 bits": (
        "efficientnet-lite0",
        Content(image=file_of(Image.fromarray(np.asarray(PHOTO.convert("L")).astype("<u2") * 257))),
        Content(image=file_of(PHOTO.convert("L"))),
    ),
    "alpha": (
        "efficientnet-lite0",
        Content(image=file_of(half_transparent())),
        Content(image=on_white(half_transparent())),
    ),
    "animated": (
        "efficientnet-lite0",
        Content(image=animated()),
        Content(image=file_of(PHOTO, "GIF")),
    ),
    "8 kHz": ("speech-embedding", Content(audio=wav(tone(1, 8000), 8000)), None),
    "stereo": ("speech-embedding", Content(audio=wav(np.stack([tone(1)] * 2, 1))), None),
    "24 bits": ("speech-embedding", Content(audio=wav(tone(1), subtype="PCM_24")), None),
    "N at the end": ("dna-kmer6", Content(sequence="ACGTTGCAACGGTNNNACG"), None),
    "RNA": ("dna-kmer6", Content(sequence="acguugcaacggu"), None),
    "NUL bytes in a text": ("minilm-l6-v2", Content(text="a \0cat\0"), None),
}


def encode(stub: Stub, encoder: str, *contents: Content) -> pb.EncodeResponse:
    items = [pb.EncodeItem(content=content) for content in contents]
    reply: pb.EncodeResponse = stub.Encode(
        pb.EncodeRequest(encoder=f"encoders/{encoder}", items=items), timeout=30
    )
    return reply


def vector(result: pb.EncodeResult) -> NDArray[np.float32]:
    assert result.HasField("item"), result
    return np.frombuffer(result.item.vectors[0].dense.data, "<f4")


@pytest.mark.parametrize(
    ("encoder", "content", "reason"),
    [
        pytest.param(encoder, *case, id=f"{encoder}: {name}")
        for encoder, cases in REFUSED.items()
        for name, case in cases.items()
    ],
)
def test_a_bad_item_fails_alone_at_its_place(
    stub: Stub, encoder: str, content: Content, reason: str
) -> None:
    good = GOOD[encoder]
    before, bad, after = encode(stub, encoder, good, content, good).results
    (alone,) = encode(stub, encoder, good).results
    assert before == after == alone
    error = error_from_status(bad.error)
    field = "items[1].content.asset" if content.HasField("asset") else "items[1].content"
    assert (error.code, error.reason, error.field) == (Code.INVALID_ARGUMENT, reason, field)


@pytest.mark.parametrize("encoder", GOOD)
def test_the_wrong_modality_fails_alone(stub: Stub, encoder: str) -> None:
    good = GOOD[encoder]
    taken = {"text", "image"} if encoder == "conse" else {good.WhichOneof("data")}
    others = [each for each in GOOD.values() if each.WhichOneof("data") not in taken]
    first, *refused = encode(stub, encoder, good, *others).results
    assert first.item.vectors
    errors = [error_from_status(each.error) for each in refused]
    assert {each.reason for each in errors} == {"WRONG_MODALITY"}
    assert [each.field for each in errors] == [
        f"items[{place}].content" for place in range(1, len(others) + 1)
    ]


@pytest.mark.parametrize(("encoder", "odd", "plain"), HANDLED.values(), ids=HANDLED)
def test_odd_items_are_read_as_documented(
    stub: Stub, encoder: str, odd: Content, plain: Content | None
) -> None:
    first, second = encode(stub, encoder, odd, plain or GOOD[encoder]).results
    assert vector(first) @ vector(second) > 0.99


def test_salts_keep_their_parts(stub: Stub) -> None:
    (result,) = encode(stub, "morgan-2048", Content(smiles="[Na+].[O-]C(C)=O")).results
    assert result.item.canonical == "CC(=O)[O-].[Na+]"


def test_a_text_of_a_megabyte_is_truncated_and_says_so(stub: Stub) -> None:
    long, shorter, short = encode(
        stub,
        "minilm-l6-v2",
        Content(text="a cat " * 166_666),
        Content(text="a cat " * 1000),
        Content(text="a cat"),
    ).results
    assert [each.item.truncated for each in (long, shorter, short)] == [True, True, False]
    np.testing.assert_allclose(vector(long), vector(shorter), atol=1e-5)


def test_empty_items_break_a_rule_and_all_are_named(stub: Stub) -> None:
    """Nothing of such a request is run: a client can check the same rules before it sends."""
    empty = [
        Content(text=""),
        Content(image=b""),
        Content(audio=b""),
        Content(smiles=""),
        Content(),
    ]
    with pytest.raises(grpc.RpcError) as refused:
        encode(stub, "minilm-l6-v2", GOOD["minilm-l6-v2"], *empty)
    error = error_from_rpc(refused.value)
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in error.violations] == [
        "items[1].content.text",
        "items[2].content.image",
        "items[3].content.audio",
        "items[4].content.smiles",
        "items[5].content.data",
    ]


def test_half_a_pair_of_surrogates_is_no_message(port: int) -> None:
    """No protobuf library sends it; bytes made by hand can."""
    item = pb.EncodeItem(content=Content(text="XYZ"))
    request = pb.EncodeRequest(encoder="encoders/minilm-l6-v2", items=[item]).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        encode_bytes: Any = channel.unary_unary("/lookalike.encoder.v1.EncoderService/Encode")
        with pytest.raises(grpc.RpcError) as refused:
            encode_bytes(request.replace(b"XYZ", b"\xed\xa0\x80"))
    assert error_from_rpc(refused.value).code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["other", "minilm-l6-v2@9"])
def test_an_unknown_encoder_is_not_found(stub: Stub, name: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        encode(stub, name, Content(text="a cat"))
    error = error_from_rpc(refused.value)
    assert (error.code, error.reason) == (Code.NOT_FOUND, "RESOURCE_NOT_FOUND")
